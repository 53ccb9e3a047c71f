#!/usr/bin/env python3
"""Strangers: nothing is admitted, nothing leaks, the daemon goes on.

    tests/e2e/test_strangers.py [WORD...]    only tests with a WORD in their name
"""

import collections
import contextlib
import json
import os
import random
import resource
import socket
import struct
import sys
import time

from harness import (PORT, Counting, Failed, Mesh, check, helper_binary, inside, read, run_tests, say,
                     wait_for)

CLIENTS = 10000
AT_ONCE = 200  # of them; more than a daemon keeps of strangers
GROWTH_MAX = 24 << 20  # bytes of resident memory that the clients may leave behind
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
        client.settimeout(30)
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
        return ("skipped: no clock to load (a build with sanitizers); at core level: "
                "tests/identity/certificate_test.cc, tests/gossip")
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
            client.settimeout(20)
            client.connect((a.address, PORT))
            return client

        def control():
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)

            def connected():
                try:
                    client.connect(a.state + "/control.sock")
                    return True
                except BlockingIOError:  # its queue of connections is full
                    return False
            wait_for("the control socket to take a connection", connected, 20, every=0.001)
            return client
        lines = [b"", b"\xff\x00 rubbish\n", b'{"v":1,"comm', b'{"v":1,"command":"nothing"}\n',
                 b'{"v":99}\n', b"[" * 5000, b'{"v":1,"command":"events","follow":true}\n']
        pid = a.daemon.pid
        memory, files = resident(pid), descriptors(pid)
        began = time.monotonic()
        with inside(x.netns):
            flood(tcp, words, CLIENTS)
        took = time.monotonic() - began
        flood(control, lines, CLIENTS // 10)
        wait_for("the connections to go", lambda: descriptors(pid) <= files + 8)
        after, files_after = resident(pid), descriptors(pid)
        say(f"  resident {memory >> 10} KiB before, {after >> 10} KiB after; descriptors {files} "
            f"before, {files_after} after; {CLIENTS} connections in {took:.1f} s; refused "
            f"{counters(a)['connections_refused']}")
        check(a.runs() and a.daemon.pid == pid, "the daemon did not survive")
        check(after - memory < GROWTH_MAX, f"{(after - memory) >> 20} MiB were not given back")
        check(members(a) == {"a", "b"}, f"admitted: {members(a)}")
        still_works(mesh)


if __name__ == "__main__":
    sys.exit(run_tests([without_certificate, other_mesh, expired_certificate, replayed_datagrams,
                        misbehaving_clients], sys.argv[1:], seconds=280))
