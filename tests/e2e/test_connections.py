#!/usr/bin/env python3
"""TCP connections of a job: a move is refused while there are any, and closes them with --tcp-close.

    tests/e2e/test_connections.py [WORD...]     only tests with a WORD in their name

TERN is the binary. Issue 4, part 3.
"""

import contextlib
import json
import os
import socket
import sys

from harness import Mesh, check, inside, python, run_tests, say, wait_for
from test_moves import criu_binary

PORT = 7411
# Says what it hears; "n" counts its turns, so that it is seen to go on.
CLIENT = r"""
import socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
peer, server = None, None
if sys.argv[3] == "both":  # the other end is the job's own, too
    server = socket.create_server((address, port), family=family)
peer = socket.socket(family)
peer.connect((address, port))
ends = [peer] + ([server.accept()[0]] if server else [])
if server:
    server.close()
for end in ends:
    end.setblocking(False)
n = 0
print("up", flush=True)
while True:
    n += 1
    print("n", n, flush=True)
    for end in list(ends):
        try:
            got = end.recv(4096)
            print("heard", got.decode() or "the end", flush=True)
            if not got:
                ends.remove(end)
        except BlockingIOError:
            pass
        except OSError as error:
            print("heard an error", flush=True)
            ends.remove(end)
    time.sleep(0.02)
"""
# Accepts and echoes; with "deaf" it accepts nobody. UDP too, on the same port.
SERVER = r"""
import selectors, socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
server = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family)
datagrams = socket.socket(family, socket.SOCK_DGRAM)
datagrams.bind((sys.argv[1], int(sys.argv[2])))
selector = selectors.DefaultSelector()
if sys.argv[3] != "deaf":
    selector.register(server, selectors.EVENT_READ)
selector.register(datagrams, selectors.EVENT_READ)
print("up", flush=True)
n = 0
while True:
    n += 1
    print("n", n, flush=True)
    for key, _ in selector.select(0.02):
        one = key.fileobj
        if one is server:
            selector.register(server.accept()[0], selectors.EVENT_READ)
            continue
        try:
            if one is datagrams:
                got, sender = one.recvfrom(4096)
                one.sendto(got, sender)
                continue
            got = one.recv(4096)
        except OSError:
            got = b""
        if got:
            one.sendall(got)
        else:
            print("heard the end", flush=True)
            selector.unregister(one)
            one.close()
"""
BUSY = r"""
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("up", flush=True)
while True:
    pass
"""
FAILING_CRIU = """#!/bin/sh
[ "$1" = restore ] || exec {criu} "$@"
exit 1
"""


def turns(host, job):
    counts = [int(line.split()[1]) for line in host.logs(job).splitlines() if line.startswith("n ")]
    return counts[-1] if counts else 0


def goes_on(host, job):
    now = turns(host, job)
    wait_for("the job to go on", lambda: turns(host, job) > now + 3)


def says(host, job, words):
    wait_for(f"the job to say {words!r}", lambda: words in host.logs(job).splitlines())


def start(host, *command, options=()):
    """A job that says "up" once it has what it wants."""
    done = host.tern("run", "--detach", "--json", "--on", "here", *options, "--", *command)
    job = json.loads(done.stdout)["job"]
    says(host, job, "up")
    return job


def listen(netns, address, port=PORT):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(netns):
        server = socket.create_server((address, port), family=family)
    server.settimeout(60)
    return server


def call(netns, address, port=PORT):
    with inside(netns):
        client = socket.create_connection((address, port), timeout=60)
    return client


def ends(peer):
    """Until the other end is gone: a plain end or a reset."""
    peer.settimeout(60)
    try:
        return peer.recv(4096) == b""
    except ConnectionResetError:
        return True


def refused(mesh, job, to, *words):
    """By the dry run and by the move, in a sentence with these words; the job goes on."""
    host = mesh["a"]
    for how in (["--dry-run"], []):
        done = host.tern("migrate", job, to, *how, ok=False)
        said = done.stdout + done.stderr
        check(done.returncode == 5, lambda: f"exit {done.returncode}: {said}")
        for word in (*words, "--tcp-close"):
            check(word in said, lambda: f"{word!r} is not said: {said}")
    check(mesh.only_copy(job) is host, "the job is not where it was")
    goes_on(host, job)
    return said.strip().splitlines()[-1]


def closes(mesh, job, to):
    host = mesh["a"]
    dry = host.tern("migrate", job, to, "--tcp-close", "--dry-run", ok=False)
    check(dry.returncode == 0, lambda: f"the dry run: {dry.stdout}{dry.stderr}")
    host.tern("migrate", job, to, "--tcp-close", seconds=120)
    check(mesh.only_copy(job) is mesh[to], f"the job is not on {to}")
    goes_on(host, job)


def asked_by_a_person():
    """IPv4 and IPv6, called and calling, both ends in the job, waiting to be accepted: refused with
    a sentence, moved with --tcp-close; the peer and the job see the end, and the job goes on"""
    with Mesh(["a", "b", "c"]) as mesh:
        host = mesh["a"]
        for address in ("127.0.0.1", "::1"):
            say(f"  {address}: the job called: " + calling(mesh, address))
            say(f"  {address}: the job is called: " + called(mesh, address))
            job = start(host, python(), "-c", CLIENT, address, str(PORT), "both")
            said = refused(mesh, job, "b", "python3", f"{PORT}", "and 1 more")
            closes(mesh, job, "b")
            wait_for("both ends to be seen closed",
                     lambda: host.logs(job).count("heard the end") == 2)
            mesh.end_job(job)
            say(f"  {address}: both ends are the job's: {said}")
            job = start(host, python(), "-c", SERVER, address, str(PORT), "deaf")
            with contextlib.closing(call(host.netns, address)) as peer:
                said = refused(mesh, job, "b", "python3", f"{PORT}", "waits to be accepted")
                closes(mesh, job, "b")
                check(ends(peer), "who waited to be accepted sees no end")
            mesh.end_job(job)
            say(f"  {address}: not accepted yet: {said}")


def calling(mesh, address):
    host = mesh["a"]
    with contextlib.closing(listen(host.netns, address)) as server:
        job = start(host, python(), "-c", CLIENT, address, str(PORT), "one")
        peer = server.accept()[0]
        with contextlib.closing(peer):
            own = peer.getpeername()[1]
            said = refused(mesh, job, "b", "python3", address, str(own), str(PORT))
            peer.sendall(b"hello")
            says(host, job, "heard hello")
            closes(mesh, job, "b")
            says(host, job, "heard the end")
            check(ends(peer), "the peer sees no end")
        host.migrate(job, "c")  # it has no connection any more
        goes_on(host, job)
    mesh.end_job(job)
    return said


def called(mesh, address):
    host = mesh["a"]
    job = start(host, python(), "-c", SERVER, address, str(PORT), "-")
    with contextlib.closing(call(host.netns, address)) as peer:
        peer.sendall(b"hello")
        check(peer.recv(100) == b"hello", "no echo")
        said = refused(mesh, job, "b", "python3", address, str(PORT))
        peer.sendall(b"again")
        check(peer.recv(100) == b"again", "no echo after a refusal")
        closes(mesh, job, "b")
        check(ends(peer), "the peer sees no end")
    says(host, job, "heard the end")
    # It listens where it is now, and answers datagrams there.
    with contextlib.closing(call(mesh["b"].netns, address)) as peer:
        peer.sendall(b"hello")
        check(peer.recv(100) == b"hello", "no echo after the move")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(mesh["b"].netns):
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
    with contextlib.closing(datagrams):
        datagrams.settimeout(60)
        datagrams.sendto(b"hello", (address, PORT))
        check(datagrams.recv(100) == b"hello", "no datagram after the move")
    mesh.end_job(job)
    return said


def by_its_description():
    """tern run --tcp-close: every move may close its connections, a park too, and those by rule"""
    with Mesh(["a", "b", "c"]) as mesh:
        host = mesh["a"]
        with contextlib.closing(listen(host.netns, "127.0.0.1")) as server:
            job = start(host, python(), "-c", CLIENT, "127.0.0.1", str(PORT), "one",
                        options=["--tcp-close"])
            with contextlib.closing(server.accept()[0]) as peer:
                host.migrate(job, "b")
                check(ends(peer), "the peer sees no end")
            says(host, job, "heard the end")
            mesh.end_job(job)
            job = start(host, python(), "-c", CLIENT, "127.0.0.1", str(PORT), "one",
                        options=["--tcp-close"])
            with contextlib.closing(server.accept()[0]) as peer:
                host.tern("park", job, seconds=120)
                check(ends(peer), "the peer sees no end")
                host.tern("wake", job, seconds=120)
            says(host, job, "heard the end")
            goes_on(host, job)
            mesh.end_job(job)
            kept = start(host, python(), "-c", CLIENT, "127.0.0.1", str(PORT), "one")
            with contextlib.closing(server.accept()[0]):
                done = host.tern("park", kept, ok=False)
                check(done.returncode == 5 and "--tcp-close" in done.stderr,
                      lambda: f"parked with a connection: {done.stderr}")
                mesh.end_job(kept)
            not_by_rule(mesh, server)
            jobs = [start(host, python(), "-c", BUSY, "127.0.0.1", str(PORT),
                          options=["--tcp-close"]) for _ in range(3)]
            with contextlib.ExitStack() as peers:
                for _ in jobs:
                    peers.enter_context(contextlib.closing(server.accept()[0]))
                wait_for("a busy job to move by itself",
                         lambda: any(mesh.only_copy(job) is not host for job in jobs), 120)
            for job in jobs:
                end_busy(mesh, job)


def end_busy(mesh, job):
    """A rule may move it just now; who ends it then is told to try again."""
    def gone():
        mesh["a"].tern("kill", job, "KILL", ok=False)
        return not mesh.copies(job)
    wait_for("every copy of the job to go", gone, every=0.5)


def not_by_rule(mesh, server):
    """Without the flag a rule that wants to move them is refused, and their connections live."""
    host = mesh["a"]
    with contextlib.ExitStack() as peers:
        jobs, ends_here = [], []
        for _ in range(3):
            jobs.append(start(host, python(), "-c", BUSY, "127.0.0.1", str(PORT)))
            ends_here.append(peers.enter_context(contextlib.closing(server.accept()[0])))

        def refusals():
            return [e for e in host.events() if e.get("job") in jobs and "--tcp-close" in
                    e["text"] + e.get("handover", {}).get("reason", "")]
        wait_for("a rule to be refused", refusals, 120)
        for job, peer in zip(jobs, ends_here):
            check(mesh.only_copy(job) is host, "a rule moved a job with a connection")
            peer.setblocking(False)
            try:
                got = peer.recv(1)
            except BlockingIOError:
                got = None
            check(got is None, "a connection was closed")
            end_busy(mesh, job)


def given_up():
    """a move that may close connections and fails leaves them as they are"""
    def prepare(mesh):
        wrapper = os.path.join(mesh.dir, "criu")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(FAILING_CRIU.format(criu=criu_binary()))
        os.chmod(wrapper, 0o755)
        mesh["b"].options = ["--criu", wrapper]

    with Mesh(["a", "b"], before_start=prepare) as mesh:
        host = mesh["a"]
        for address in ("127.0.0.1", "::1"):
            job = start(host, python(), "-c", SERVER, address, str(PORT), "-")
            with contextlib.closing(call(host.netns, address)) as peer:
                peer.sendall(b"hello")
                check(peer.recv(100) == b"hello", "no echo")
                done = host.tern("migrate", job, "b", "--tcp-close", ok=False, seconds=120)
                check(done.returncode != 0, "moved by a CRIU that cannot restore")
                goes_on(host, job)
                peer.sendall(b"again")
                check(peer.recv(100) == b"again", "no echo after a move that was given up")
            says(host, job, "heard the end")
            mesh.end_job(job)


if __name__ == "__main__":
    sys.exit(run_tests([asked_by_a_person, by_its_description, given_up], sys.argv[1:],
                       seconds=560))
