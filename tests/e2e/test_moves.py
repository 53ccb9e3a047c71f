#!/usr/bin/env python3
"""Running processes move between hosts: by command and by rule, three nodes and two.

    tests/e2e/test_moves.py [WORD...]     only tests with a WORD in their name

TERN is the binary, TERN_E2E_HELPERS the folder of the jobs that are compiled. Issue 2, "Shown by".
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

from harness import (HERE, WAIT, Counter, Counting, Failed, Mesh, check, check_continuous, helper_binary,
                     inside, leave_out, python, run_tests, say, tern_binary, wait_for)

ROUND_TRIPS = 10
LISTEN_PORT = 7400

SHELL = 'n=0; while :; do echo $((n += 1)); sleep 0.02; done'
# A tree with pipes between its members: every number passes through four processes, and the last
# one checks the order itself.
TREE = """
(n=0; while :; do echo $((n += 1)); sleep 0.02; done) |
  (while read -r x; do echo "$x"; done) | cat -u |
  (want=0; while read -r x; do
     want=$((want + 1)); [ "$x" = "$want" ] || echo "the pipe gave $x after $((want - 1))"
     echo "$x"; done)
"""
NODE = """
const kept = Buffer.alloc(8 << 20, 7); let n = 0;
setInterval(() => {
  if (kept[(n * 4096) % kept.length] !== 7) { console.log('memory damaged'); process.exit(99); }
  console.log(++n);
}, 20);
"""
CPU = 'while :; do :; done'
# Listens and never accepts.
LISTENS = f"""
import socket, time
server = socket.create_server(("127.0.0.1", {LISTEN_PORT}))
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""
# Its epoll set holds a pipe that only its child has open still: nothing shows that but CRIU.
POLLS = """
import os, select, time
r, w = os.pipe()
polled = select.epoll()
polled.register(w)
if os.fork() == 0:
    polled.close()
    time.sleep(100000)
os.close(w)
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""
# Holds a file open.
HOLDS = 'exec 3<"$0"; n=0; while :; do echo $((n += 1)); sleep 0.02; done'
HIDING_CRIU = """#!/bin/sh
[ "$1" = restore ] || exec {criu} "$@"
exec unshare --mount sh -ec 'mount --bind {files}/other {files}/held; exec {criu} "$@"' sh "$@"
"""
SHELL_LOOP = ("a shell loop", lambda m, h: Counting(m, h, "/bin/sh", "-c", SHELL))
BALLAST = ("Python, 200 MB that it checks", lambda m, h: Counter(m, h, megabytes=200))
THREADS = ("C++ threads", lambda m, h: Counting(m, h, helper_binary("e2e_threads_job")))
PIPES = ("a process tree with pipes", lambda m, h: Counting(m, h, "/bin/bash", "-c", TREE))
WORKLOADS = (SHELL_LOOP, BALLAST, THREADS, PIPES)


def there_and_back(mesh, job, trips=1):
    """Moves a counting job from its host to the next and back, checking it at every stop; the
    frozen seconds of each move."""
    here, there = mesh.hosts[0], mesh.hosts[1]
    frozen = []
    for _ in range(trips):
        for source, sink in ((here, there), (there, here)):
            move = source.migrate(job.job, sink.name)
            check(move["outcome"] == "commit", lambda: f"not moved: {move}")
            check((move["from"], move["to"]) == (source.id, sink.id), lambda: f"odd: {move}")
            frozen.append(move["frozen_seconds"])
            job.wait_further()
            check(mesh.only_copy(job.job) is sink, f"the job does not run on {sink.name}")
            job.check_output()
    return frozen


def moved(mesh, job, trips=1):
    frozen = there_and_back(mesh, job, trips)
    lines = job.check_output()
    entry = job.home.job(job.job)
    check(len(entry) == 1 and entry[0]["moves"] == 2 * trips and entry[0]["state"] == "running",
          lambda: f"tern ps says {entry}")
    job.end()
    return f"{2 * trips} moves, {lines} lines, frozen at most {max(frozen):.2f} s"


def move_each(mesh, workloads):
    for name, start in workloads:
        try:
            say(f"  {name}: " + moved(mesh, start(mesh, mesh["a"])))
        except Failed as failed:
            raise Failed(f"{name}: {failed}") from failed


def three_nodes_by_command():
    """every kind of workload moves to another host of three and back"""
    workloads = [*WORKLOADS]
    if shutil.which("node"):
        workloads.append(("node.js", lambda m, h: Counting(m, h, shutil.which("node"), "-e", NODE)))
    else:
        leave_out("a job in node.js, which is not installed here")
    with Mesh(["a", "b", "c"]) as mesh:
        move_each(mesh, workloads)
        check_nothing_left(mesh)


def ten_there_and_back():
    """twenty moves in a row, a witness watching"""
    with Mesh(["a", "b", "c"]) as mesh:
        return moved(mesh, Counter(mesh, mesh["a"], megabytes=20), ROUND_TRIPS)


def two_nodes():
    """a pair moves jobs by command, and by rule"""
    with Mesh(["a", "b"]) as mesh:
        move_each(mesh, (SHELL_LOOP, BALLAST, PIPES))
        took = by_rule(mesh)
        check_nothing_left(mesh)
        return f"by rule after {took:.1f} s"


def three_nodes_by_rule():
    """two busy jobs on one of three hosts: one moves away by itself, and then all stays"""
    with Mesh(["a", "b", "c"]) as mesh:
        return f"by rule after {by_rule(mesh):.1f} s"


def by_rule(mesh):
    """Two CPU-bound jobs on a node that counts two CPUs make it PLUS. Until one has moved, without
    a command, and nobody is PLUS; the seconds that this took."""
    first = mesh.hosts[0]
    counter = Counter(mesh, first, pause=0.05)
    began = time.monotonic()
    jobs = [first.run("/bin/sh", "-c", CPU) for _ in range(2)]

    def spread():
        at = [mesh.only_copy(job) for job in jobs]
        return len({host.name for host in at}) == 2
    wait_for("a busy job to move by itself", spread, 120)
    took = time.monotonic() - began

    def calm():
        nodes = first.status()["nodes"]
        return all(node["trit"] < 1 for node in nodes)
    wait_for("nobody to be PLUS", calm, 90)

    def moves():
        return [e for e in first.events() if "handover" in e and e["handover"]["from"] == first.id
                and e["handover"]["outcome"] == "commit" and e["job"] in jobs]
    # The copy runs there before the source has heard of it.
    wait_for("the source to tell of the move", moves)
    check(len(moves()) == 1, lambda: f"{len(moves())} moves away where one was enough")
    counter.check_output()
    for job in jobs:
        mesh.end_job(job)
    counter.end()
    return took


def attached_run():
    """`tern run` goes on printing after its job has moved, and ends with the job's exit code"""
    with Mesh(["a", "b", "c"]) as mesh:
        first = mesh["a"]
        flag = os.path.join(mesh.dir, "enough")
        script = f'n=0; while [ ! -e {flag} ]; do echo $((n += 1)); sleep 0.02; done; exit 7'
        command = [tern_binary(), "run", "--on", "here", "--state", first.state, "--name", "attached", "--",
                   "/bin/sh", "-c", script]
        out = os.path.join(mesh.dir, "attached.out")
        with open(out, "wb") as file:
            attached = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file,
                                        stderr=subprocess.PIPE, cwd="/")
        try:
            lines = lambda: open(out, encoding="ascii").read().splitlines()
            wait_for("the first lines", lambda: len(lines()) > 3)
            check(first.migrate("attached", "b")["outcome"] == "commit", "not moved")
            seen = len(lines())
            wait_for("lines after the move", lambda: len(lines()) > seen + 10)
            check(first.ps()[0]["node"] == "b", "the job is not on b")
            with open(flag, "w", encoding="ascii"):
                pass
            code = attached.wait(WAIT)
            errors = attached.stderr.read().decode()
        finally:
            attached.kill()
            attached.wait()
            attached.stderr.close()
        check(code == 7, f"exit code {code} instead of 7: {errors}")
        count = check_continuous(lines())
        entry = wait_for("the end to be known at home",
                         lambda: [j for j in first.ps() if j["state"] == "exited"])
        check(entry[0]["exit_code"] == 7, lambda: f"tern ps says {entry}")
        return f"{count} lines, exit code 7 from another host"


def refusals():
    """preflight refuses before anything freezes: exit code 5, a sentence, and the job runs on"""
    def prepare(mesh):
        files, others = os.path.join(mesh.dir, "files"), os.path.join(mesh.dir, "others")
        os.mkdir(files)
        os.mkdir(others)
        with open(os.path.join(files, "differs"), "w", encoding="ascii") as file:
            file.write("one")
        with open(os.path.join(others, "differs"), "w", encoding="ascii") as file:
            file.write("two")  # of the same size
        # On b, and only there, that folder has other content.
        mesh["b"].setup = f"mount --bind {others} {files}"
        mesh["c"].options = ["--criu", "/nonexistent/criu"]

    with Mesh(["a", "b", "c"], before_start=prepare) as mesh:
        files = os.path.join(mesh.dir, "files")
        cases = [
            ("a file differs there", f"{files}/differs", "b", "differs"),
            ("no CRIU there", "/etc/hostname", "c", "install-criu"),
            ("a file of /proc/PID is open", "/proc/self/status", "b", "/proc"),
        ]
        for name, path, to, word in cases:
            job = Counting(mesh, mesh["a"], "/bin/sh", "-c", HOLDS, path)
            # The dry run says the same beforehand, from any node, and changes nothing.
            for asked in ("a", "c"):
                tried = mesh[asked].tern("migrate", job.job, to, "--dry-run", "--json", ok=False)
                obstacles = json.loads(tried.stdout)["obstacles"] if tried.stdout else []
                check(tried.returncode == 5 and any(word in text for text in obstacles),
                      lambda: f"{name}: dry run: exit {tried.returncode}, {obstacles}")
            done = mesh["a"].migrate(job.job, to, ok=False)
            check(not isinstance(done, dict), f"{name}: the job was moved")
            sentence = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
            check(done.returncode == 5, f"{name}: exit code {done.returncode}: {sentence}")
            check(len(sentence) > 20 and word in sentence, f"{name}: not said: {sentence}")
            job.wait_further()
            check(mesh.only_copy(job.job) is mesh["a"], f"{name}: the job is not where it was")
            frozen = [e for e in mesh["a"].events() if e.get("job") == job.job
                      and e["kind"] == "handover" and e["text"].startswith("stream")]
            check(not frozen, f"{name}: the job was frozen")
            job.check_output()
            job.end()
            say(f"  {name}: {sentence}")
        say(f"  a port is taken there: {taken_port(mesh)}")


def taken_port(mesh):
    """A job that listens does not go where somebody else does, and goes once that port is free."""
    job = Counting(mesh, mesh["a"], python(), "-c", LISTENS)
    with inside(mesh["b"].netns):
        other = socket.create_server(("", LISTEN_PORT))
    done = mesh["a"].migrate(job.job, "b", ok=False)
    check(not isinstance(done, dict), "a job moved onto a port that is taken")
    sentence = done.stderr.strip().splitlines()[-1]
    check(done.returncode == 5 and f"TCP port {LISTEN_PORT}" in sentence,
          lambda: f"a taken port: exit {done.returncode}: {done.stderr}")
    other.close()
    mesh["a"].migrate(job.job, "b")
    job.wait_further()
    job.check_output()
    job.end()
    return sentence


def criu_binary():
    """The CRIU that daemons find here."""
    script = os.path.join(HERE, "..", "..", "scripts", "install-criu")
    return subprocess.run([script, "--check"], capture_output=True, text=True,
                          check=True).stdout.strip()


def criu_refuses():
    """what only CRIU sees, at the dump and at the restore: its own words are told, the job runs on"""
    def prepare(mesh):
        files, wrapper = os.path.join(mesh.dir, "files"), os.path.join(mesh.dir, "criu")
        os.mkdir(files)
        for name, text in (("held", "what the source has"), ("other", "less")):
            with open(os.path.join(files, name), "w", encoding="ascii") as file:
                file.write(text)
        # b's CRIU, which is the real one, and nobody else there sees another file when it restores.
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(HIDING_CRIU.format(criu=criu_binary(), files=files))
        os.chmod(wrapper, 0o755)
        mesh["b"].options = ["--criu", wrapper]

    for names in (["a", "b"], ["a", "b", "c"]):  # decided by the source, and by a third
        with Mesh(names, before_start=prepare) as mesh:
            refused_by_criu(mesh)


def refused_by_criu(mesh):
    first, held = mesh["a"], os.path.join(mesh.dir, "files", "held")
    cases = [("at the dump", [python(), "-c", POLLS], "eventpoll"),
             ("at the restore", ["/bin/sh", "-c", HOLDS, held], "files/held has bad size 4")]
    for name, command, words in cases:
        job = Counting(mesh, first, *command)
        done = first.migrate(job.job, "b", ok=False)
        check(not isinstance(done, dict), f"{name}: the job was moved")
        said = done.stderr.strip()
        check("CRIU" in said and words in said, f"{name}: exit {done.returncode}, not said: {said}")
        reasons = [e["handover"]["reason"] for e in first.events() if e.get("job") == job.job
                   and e.get("handover", {}).get("outcome") == "abort"]
        check(len(reasons) == 1 and "CRIU" in reasons[0] and words in reasons[0],
              lambda: f"{name}: the events' reasons: {reasons}")
        job.wait_further()
        check(mesh.only_copy(job.job) is first, f"{name}: the job is not where it was")
        job.check_output()
        job.end()
        say(f"  {name}: exit {done.returncode}, {said}")
    # Without what was refused the same jobs move.
    for command in ([python(), "-c", LISTENS], ["/bin/sh", "-c", HOLDS, "/etc/hostname"]):
        job = Counting(mesh, first, *command)
        check(first.migrate(job.job, "b")["outcome"] == "commit", lambda: f"not moved: {command}")
        job.wait_further()
        job.end()
    check_nothing_left(mesh)


def check_nothing_left(mesh):
    """With all jobs gone: no cgroup of a job or of CRIU, no work folder, no zombie, no seat."""
    mesh.wait_no_seats()

    def clean():
        for host in mesh.hosts:
            left = [g for g in os.listdir(host.cgroup) if g.startswith(("job-", "criu-"))]
            check(not left, f"cgroups left on {host.name}: {left}")
            check(not host.zombies(), f"{host.zombies()} processes of {host.name} not waited for")
        left = [n for n in os.listdir("/dev/shm") if n.startswith(f"tern-{mesh.prefix}-")]
        check(not left, f"work folders left: {left}")
        return True
    wait_for("all cgroups and work folders to go", clean)


if __name__ == "__main__":
    sys.exit(run_tests([three_nodes_by_command, ten_there_and_back, two_nodes, three_nodes_by_rule,
                        attached_run, refusals, criu_refuses], sys.argv[1:], seconds=560))
