#!/usr/bin/env python3
"""Strangers: nothing is admitted, nothing leaks, the daemon goes on.

    tests/e2e/test_strangers.py [WORD...]    only tests with a WORD in their name
"""

import base64
import collections
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import socket
import struct
import sys
import time

from harness import (PORT, WAIT, Counting, Failed, Mesh, check, helper_binary, inside, leave_out,
                     read, run_tests, say, wait_for)

CLIENTS = 10000
AT_ONCE = 200  # of them; more than a daemon keeps of strangers
# Bytes of resident memory that a second flood may add to what the first one left: 105 for each
# connection. The first one also fills what is kept for good: the heap's own reserve, tables.
GROWTH_MAX = 1 << 20
YEAR = 365 * 24 * 3600
SHELL = 'n=0; while :; do echo $((n += 1)); sleep 0.02; done'


def members(host):
    return {node["name"] for node in host.status()["nodes"]}


def counters(host):
    return host.json("metrics")["counters"]


def still_works(mesh):
    """Two members see each other and move a job."""
    mesh.wait_alive()
    job = Counting(mesh, mesh["a"], "/bin/sh", "-c", SHELL)
    check(mesh["a"].migrate(job.job, "b")["outcome"] == "commit", "a job cannot be moved any more")
    job.wait_further()
    job.check_output()
    job.end()


def ask(host, request):
    """One request to a daemon's control socket; its final answer."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(WAIT)
        client.connect(host.state + "/control.sock")
        client.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
        text = b""
        while not text.endswith(b"\n"):
            more = client.recv(65536)
            check(more, "the daemon hung up")
            text += more
        return json.loads(text.splitlines()[-1])


# ---- certificates


def without_certificate():
    """who has no ticket that holds is not let in: a used one, a garbled one, an expired one"""
    with Mesh(["a", "b"], strangers=["x", "y"]) as mesh:
        first, x, y = mesh["a"], mesh["x"].start(), mesh["y"].start()
        used = first.json("invite")["ticket"]
        x.tern("join", "-", stdin=used + "\n")
        garbled = first.json("invite")["ticket"]
        at = len(garbled) // 2
        garbled = garbled[:at] + ("b" if garbled[at] != "b" else "c") + garbled[at + 1:]
        short = ask(first, {"command": "invite", "seconds": 1})["data"]["ticket"]
        expires = time.monotonic() + 2
        for name, ticket in (("used", used), ("garbled", garbled), ("expired", short)):
            if name == "expired":
                wait_for("the ticket to expire", lambda: time.monotonic() > expires)
            done = y.tern("join", "-", stdin=ticket + "\n", ok=False)
            sentence = (done.stderr.strip().splitlines() or [""])[0]
            check(done.returncode != 0, f"a ticket that is {name} let somebody in")
            check(len(sentence) > 10, f"{name}: nothing was said")
            check(ask(y, {"command": "ping"})["data"]["member"] is False, f"{name}: it is a member")
            say(f"  {name}: exit {done.returncode}, {sentence}")
        check(members(first) <= {"a", "b", "x"}, lambda: f"members: {members(first)}")
        still_works(mesh)


def other_mesh():
    """a member of another mesh gets nowhere, though it knows our addresses"""
    with Mesh(["a", "b"], strangers=["x"]) as mesh:
        first, x = mesh["a"], mesh["x"]
        x.options = [f"--peer={mesh['a'].address}:{PORT}", f"--peer={mesh['b'].address}:{PORT}"]
        before, known = counters(first)["connections_refused"], counters(first)["members"]
        x.start().tern("up", "--name", "x")
        wait_for("a to refuse it", lambda: counters(first)["connections_refused"] > before)
        check(members(first) == {"a", "b"}, lambda: f"a lists {members(first)}")
        check(members(x) == {"x"}, lambda: f"x lists {members(x)}")
        check(counters(first)["members"] == known, "a keeps the stranger's certificate")
        still_works(mesh)
        check(members(x) == {"x"} and members(first) == {"a", "b"}, "they mixed later")


def expired_certificate():
    """a certificate that has run out admits nobody, whatever its owner's clock says"""
    clock = helper_binary("libe2e_clock.so")
    if not os.path.exists(clock):
        leave_out("an expired certificate: no clock to load (a build with sanitizers); at core level: "
                  "tests/identity/certificate_test.cc, tests/gossip")
        return None
    past = {"LD_PRELOAD": clock, "TERN_E2E_CLOCK_SECONDS": str(-YEAR - 7 * 24 * 3600)}

    def before(mesh):
        mesh["a"].env = past  # which issues a year and a week ago; its own certificate lasts longer
        mesh["b"].env = past
    with Mesh(["a", "b"], before_start=before) as mesh:
        a, b = mesh["a"], mesh["b"]
        for host in (a, b):
            host.stop_daemon()
        a.env = {}
        a.start()  # in the present
        dropped = counters(a)
        b.start()  # still in the past, where its certificate holds
        wait_for("a to refuse b", lambda: counters(a)["connections_refused"]
                 > dropped["connections_refused"] or counters(a)["gossip_dropped_expired"]
                 > dropped["gossip_dropped_expired"])
        state = {n["name"]: n["state"] for n in a.status()["nodes"]}
        check(state.get("b") != "alive", f"a says {state}")
        done = a.tern("migrate", a.run("/bin/sleep", "600"), "b", ok=False)
        check(done.returncode != 0, "a job was sent to a node with an expired certificate")
        refused = counters(a)
        # With its clock right, b itself sees what is wrong.
        b.stop_daemon()
        b.env = {}
        with contextlib.suppress(Failed):
            b.start()
        said = read(b.log) + read(b.log + ".stderr")
        check("expired" in said or "certificate" in said, "b does not say what is wrong with it")
        return (f"connections refused {refused['connections_refused']}, datagrams dropped as "
                f"expired {refused['gossip_dropped_expired']}")


# ---- datagrams


def udp_frames(host, to, count):
    """Frames with gossip that a host sends to another, as they are on the wire."""
    with inside(host.netns):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    raw.bind(("eth0", 0))
    raw.settimeout(60)
    frames = []
    wanted = socket.inet_aton(to.address)
    while len(frames) < count:
        frame = raw.recv(2048)
        is_udp = frame[12:14] == b"\x08\x00" and frame[23] == 17
        if is_udp and frame[30:34] == wanted and frame[26:30] == socket.inet_aton(host.address):
            # Its checksum was left to a card that is not there; 0 means none.
            frames.append(frame[:40] + bytes(2) + frame[42:])
    return raw, frames


def replayed_datagrams():
    """datagrams recorded between members and sent again are dropped and counted"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        raw, frames = udp_frames(a, b, 20)
        with contextlib.closing(raw):
            before = counters(b)
            for _ in range(5):
                for frame in frames:
                    raw.send(frame)
            wait_for("the replays to be counted", lambda: counters(b)["gossip_dropped_replayed"]
                     >= before["gossip_dropped_replayed"] + 5 * len(frames))
            first = counters(b)["gossip_dropped_replayed"] - before["gossip_dropped_replayed"]
            # After a restart b has forgotten every counter; the challenge still tells old from new.
            b.restart()
            fresh = counters(b)
            for frame in frames:
                raw.send(frame)

            def dropped():
                now = counters(b)
                return sum(now[k] - fresh[k] for k in now if k.startswith("gossip_dropped_")
                           and k != "gossip_dropped_stale") >= len(frames)
            wait_for("the replays to be dropped after a restart too", dropped)
        still_works(mesh)
        return f"{first} of {5 * len(frames)} replayed dropped; after a restart too"


# ---- clients that misbehave


def first_words(mesh):
    """The first bytes that a real member says when it connects."""
    a, b = mesh["a"], mesh["b"]
    with inside(a.netns):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    raw.bind(("eth0", 0))
    raw.settimeout(60)
    b.restart()
    with contextlib.closing(raw):
        while True:
            frame = raw.recv(4096)
            if frame[12:14] != b"\x08\x00" or frame[23] != 6:
                continue
            ip_size = (frame[14] & 15) * 4
            tcp = frame[14 + ip_size:14 + struct.unpack("!H", frame[16:18])[0]]
            said = tcp[(tcp[12] >> 4) * 4:]
            if frame[26:30] == socket.inet_aton(b.address) and tcp[2:4] == struct.pack("!H", PORT) \
                    and said:
                return said


def resident(pid):
    return int(read(f"/proc/{pid}/statm").split()[1]) * resource.getpagesize()


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def flood(make, words, count):
    """Clients, AT_ONCE at a time, each of which says its words and then nothing."""
    open_now = collections.deque()
    for number in range(count):
        client = make()
        said = words[number % len(words)]
        with contextlib.suppress(OSError):
            if said:
                client.send(said() if callable(said) else said)
        open_now.append(client)
        if len(open_now) > AT_ONCE:
            open_now.popleft().close()
    for client in open_now:
        client.close()


def misbehaving_clients():
    """10,000 connections that say nothing, rubbish, or stop half way"""
    rng = random.Random(7)
    with Mesh(["a", "b"], strangers=["x"]) as mesh:
        a, x = mesh["a"], mesh["x"]
        hello = first_words(mesh)
        mesh.wait_alive()
        words = [b"", lambda: rng.randbytes(rng.randrange(1, 4000)), hello[:len(hello) // 2],
                 hello, hello + b"\xff" * 600, b"GET / HTTP/1.1\r\n\r\n"]

        def tcp():
            client = socket.socket()
            client.settimeout(WAIT)
            client.connect((a.address, PORT))
            return client

        def control():
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(WAIT)

            def connected():
                try:
                    client.connect(a.state + "/control.sock")
                    return True
                except BlockingIOError:  # its queue of connections is full
                    return False
            wait_for("the control socket to take a connection", connected, every=0.001)
            return client
        lines = [b"", b"\xff\x00 rubbish\n", b'{"v":1,"comm', b'{"v":1,"command":"nothing"}\n',
                 b'{"v":99}\n', b"[" * 5000, b'{"v":1,"command":"events","follow":true}\n']
        pid = a.daemon.pid
        files = descriptors(pid)
        memory = [resident(pid)]
        for turn in ("first", "second"):
            began = time.monotonic()
            with inside(x.netns):
                flood(tcp, words, CLIENTS)
            took = time.monotonic() - began
            flood(control, lines, CLIENTS // 10)
            wait_for("the connections to go", lambda: descriptors(pid) <= files + 8)
            memory.append(resident(pid))
            say(f"  {turn} flood: {CLIENTS} connections in {took:.1f} s; resident "
                f"{memory[-2] >> 10} KiB before, {memory[-1] >> 10} KiB after; descriptors {files} "
                f"before, {descriptors(pid)} after; refused {counters(a)['connections_refused']}")
        check(a.runs() and a.daemon.pid == pid, "the daemon did not survive")
        grown = [after - before for before, after in zip(memory, memory[1:])]
        check(grown[1] < GROWTH_MAX, f"the second flood left {grown[1] >> 10} KiB")
        check(members(a) == {"a", "b"}, f"admitted: {members(a)}")
        still_works(mesh)
        return f"left {grown[0] >> 10} KiB by the first flood, {grown[1] >> 10} KiB by the second"


# ---- what the logs say


def written_forms(secret):
    """Every way in which software writes bytes down, and pieces of them: what a log line with a part
    of this secret would hold."""
    texts = [secret.hex(), secret.hex().upper()]
    for shift in range(5):  # where in a longer text the secret may begin
        padded = bytes(shift) + secret
        if shift < 3:
            plain = base64.b64encode(padded).rstrip(b"=")[4 if shift else 0:-1].decode()
            texts += [plain, plain.replace("+", "-").replace("/", "_")]
        plain = base64.b32encode(padded).rstrip(b"=")[8 if shift else 0:-1].decode()
        texts += [plain, plain.lower()]
    forms = {secret[at:at + 8] for at in range(len(secret) - 7)}
    for text in texts:
        forms |= {text[at:at + 16].encode() for at in range(len(text) - 15)}
    return forms


def shows(data, secret):
    return any(form in data for form in written_forms(secret))


def stored_in(host):
    """All files of a state folder, but for its jobs'."""
    stored = b""
    for entry in os.scandir(host.state):
        if entry.is_file(follow_symlinks=False) and not entry.name.endswith(".log"):
            with open(entry.path, "rb") as file:
                stored += file.read()
    return stored


def keys_of(host):
    """{name: bytes} of every key that the state folder holds (identity/keys.h)."""
    keys, stored = {}, stored_in(host)
    for at in (m.start() for m in re.finditer(rb"TRNK\x01", stored)):
        for name, offset in (("signing key", 6), ("X25519 key", 38), ("root key", 70)):
            if any(key := stored[at + offset:at + offset + 32]):
                keys[f"{host.name}'s {name} {key[:2].hex()}"] = key
    return keys


def of_ticket(ticket):
    """The secret in a ticket, and what its issuer keeps of it (identity/ticket.h)."""
    text = ticket.rsplit("-", 1)[1].upper()
    secret = base64.b32decode(text + "=" * (-len(text) % 8))[1:33]
    check(shows(ticket.encode(), secret), "a ticket's secret would not be found in a ticket")
    return secret, hashlib.blake2b(b"psk", key=secret, digest_size=32).digest()


def no_secrets_in_logs():
    """neither tickets nor keys stand in any log, at the most talkative level"""
    with Mesh(["a", "b"], strangers=["x", "y"]) as mesh:
        a, b, x, y = mesh["a"], mesh["b"], mesh["x"].start(), mesh["y"].start()
        tickets = [a.json("invite")["ticket"] for _ in range(3)]
        for host, ticket, lets_in in ((x, tickets[0], True), (y, tickets[0], False),
                                      (y, tickets[1][:-1], False), (y, tickets[1] + "q", False)):
            done = host.tern("join", "--trust", "-", stdin=ticket + "\n", ok=False)
            check((done.returncode == 0) == lets_in, lambda: f"exit {done.returncode}: {done.stderr}")
        still_works(mesh)
        for host in (a, b):
            host.restart()
        mesh.wait_alive()
        keys = {name: key for host in (a, b, x) for name, key in keys_of(host).items()}
        check(len(keys) == 7, lambda: f"three nodes and a mesh have the keys {sorted(keys)}")
        secrets, kept = keys, stored_in(a)
        for number, ticket in enumerate(tickets):
            secret, psk = of_ticket(ticket)
            secrets |= {f"ticket {number}": secret, f"ticket {number}'s psk": psk}
            check(psk in kept, "a ticket's psk is not in the state folder: has its form changed?")
        size = 0
        for host in (a, b, x, y):
            for path in (host.log, host.log + ".stderr"):
                with open(path, "rb") as file:
                    said = file.read()
                size += len(said)
                check(path != host.log or host is y or b" debug " in said,
                      f"{host.name} logs nothing at debug")
                told = [what for what, secret in secrets.items() if shows(said, secret)]
                check(not told, f"{host.name}'s log tells {told}")
        return f"{len(secrets)} secrets looked for in {size >> 10} KiB of logs"


if __name__ == "__main__":
    sys.exit(run_tests([without_certificate, other_mesh, expired_certificate, replayed_datagrams,
                        misbehaving_clients, no_secrets_in_logs], sys.argv[1:], seconds=280))
