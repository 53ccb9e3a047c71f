#!/usr/bin/env python3
"""`tern run` feels like running the command: standard input and pipes, through moves.

    tests/e2e/test_attached.py [WORD...]     only tests with a WORD in their name

TERN is the binary. Issue 4, part 5.
"""

import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time

from harness import (WAIT, Counter, Failed, Mesh, check, die_with_parent, kill_pid, run_tests,
                     tern_binary, wait_for)

ECHO_BYTES = 20 * 1000 * 1000


def command(host, *arguments):
    return [tern_binary(), arguments[0], "--state", host.state, *arguments[1:]]


class Attached:
    """`tern run -- ...` with pipes for its standard input and output."""

    def __init__(self, host, *words, options=(), name=None, stdin=subprocess.PIPE):
        named = ["--name", name] if name else []
        self.host = host
        self.process = subprocess.Popen(command(host, "run", *named, *options, "--", *words),
                                        stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, cwd="/",
                                        preexec_fn=die_with_parent)
        self.output = b""
        self.said = b""
        self.readers = [threading.Thread(target=self._read, args=(kind,), daemon=True)
                        for kind in ("output", "said")]
        for reader in self.readers:
            reader.start()

    def _read(self, kind):
        pipe = self.process.stdout if kind == "output" else self.process.stderr
        while piece := os.read(pipe.fileno(), 1 << 16):
            setattr(self, kind, getattr(self, kind) + piece)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()

    def wait(self, seconds=WAIT):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise Failed(f"tern run did not end; it wrote {len(self.output)} bytes and said "
                         f"{self.said[-300:]!r}") from late
        for reader in self.readers:
            reader.join(WAIT)
        return code

    def ends(self, code=0, seconds=WAIT):
        got = self.wait(seconds)
        check(got == code, lambda: f"tern run ended with {got}, not {code}: {self.said[-500:]!r}")
        return self.output


def job_called(host, name):
    def there():
        found = [job for job in host.ps() if job["name"] == name and job["state"] == "running"]
        return found[0]["id"] if found else None
    return wait_for(f"the job {name} to run", there)


def shell(text, **options):
    return subprocess.run(["/bin/bash", "-c", text], capture_output=True, timeout=WAIT,
                          check=False, **options)


# ---- pipes


def pipes_of_a_shell():
    """pipes, redirections, ends of file and broken pipes, as a person writes them"""
    with Mesh(["a"]) as mesh:
        host = mesh["a"]
        env = {**os.environ, "RUN": " ".join(command(host, "run"))}
        lines = [str(n).encode() for n in range(200000)]
        random.Random(5).shuffle(lines)
        big = os.path.join(mesh.dir, "big")
        with open(big, "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
        cases = (
            ("echo x | $RUN -- cat", b"x\n", 0),
            ("$RUN -- cat < /dev/null; echo $?", b"0\n", 0),
            ("echo lost | $RUN -n -- cat; echo $?", b"0\n", 0),
            (f"$RUN -- sort < {big} | head -n 3", b"\n".join(sorted(lines)[:3]) + b"\n", 0),
            (f"$RUN -- md5sum < {big}",
             hashlib.md5(b"\n".join(lines) + b"\n").hexdigest().encode() + b"  -\n", 0),
            # Who writes to a job that has ended, or reads no more, gets SIGPIPE.
            ("yes | $RUN -- head -n 2; echo ${PIPESTATUS[0]} ${PIPESTATUS[1]}",
             b"y\ny\n141 0\n", 0),
            ("(yes; echo $? >&2) | $RUN -- sh -c 'exec <&-; echo closed; sleep 0.5'",
             b"closed\n", 0),
            # Whose output nobody reads any more gets SIGPIPE itself.
            ("$RUN --name endless -- yes | head -n 1", b"y\n", 0),
            ("exit 3 | $RUN -- sh -c 'cat; exit 7'; echo $?", b"7\n", 0),
        )
        for text, wanted, code in cases:
            done = shell(text, env=env)
            check((done.stdout, done.returncode) == (wanted, code),
                  lambda: f"{text}: {done.stdout[-200:]!r}, exit {done.returncode}: "
                  f"{done.stderr[-300:]!r}")
        wait_for("the job that nobody reads to end",
                 lambda: all(job["state"] == "exited" for job in host.ps()))


def a_job_that_does_not_read():
    """a job that does not read holds its writer up, and Ctrl-C still reaches it"""
    with Mesh(["a"]) as mesh:
        run = Attached(mesh["a"], "sh", "-c", "trap 'exit 9' INT; while :; do sleep 0.05; done")
        os.set_blocking(run.process.stdin.fileno(), False)
        written, quiet_since = 0, time.monotonic()
        while time.monotonic() - quiet_since < 2:
            try:
                written += os.write(run.process.stdin.fileno(), b"x" * 65536)
                quiet_since = time.monotonic()
            except BlockingIOError:
                select.select([], [run.process.stdin], [], 0.1)
        check(written < 2_000_000, f"{written} bytes went to a job that does not read")
        run.process.send_signal(signal.SIGINT)
        run.ends(9)
        return f"{written} bytes on their way when it stopped"


def sort_moved_twice():
    """sort, fed slowly while it moves there and back: the result of an unmoved run"""
    lines = [f"{random.Random(n).random()} {n}\n".encode() for n in range(3000)]
    with Mesh(["a", "b", "c"]) as mesh:
        host = mesh["a"]
        run = Attached(host, "sort", name="sorter")
        job = job_called(host, "sorter")
        for index, line in enumerate(lines):
            run.write(line)
            if index == 1000:
                # A job that has just begun is known to the rules with the next sample of the load.
                wait_for("the job to move",
                         lambda: isinstance(host.migrate(job, "b", ok=False), dict))
            if index == 2000:
                host.migrate(job, "a")
        run.close()
        got = run.ends()
        check(got == b"".join(sorted(lines)), lambda: f"{len(got)} bytes, not the sorted ones")


def echo(mesh, faults, moves):
    """20 MB of random bytes through cat; faults are called while they go. Both ways the same."""
    data = random.Random(11).randbytes(ECHO_BYTES)
    host = mesh["a"]
    run = Attached(host, "cat", name="echo")
    job = job_called(host, "echo")
    goals = [(index + 1) * ECHO_BYTES // (len(faults) + 2) for index in range(len(faults))]
    over = [threading.Event() for _ in faults]
    trouble = []

    def feed():
        try:
            for at in range(0, len(data), 1 << 16):
                # Not past a fault before it is over, but so far that it hits a full pipe.
                for goal, event in zip(goals, over):
                    if at > goal + 1_000_000:
                        event.wait(WAIT)
                run.write(data[at:at + (1 << 16)])
            run.close()
        except OSError as error:
            trouble.append(f"the input broke: {error}")

    threading.Thread(target=feed, daemon=True).start()
    for goal, fault, event in zip(goals, faults, over):
        wait_for(f"{goal} bytes to come back",
                 lambda g=goal: len(run.output) >= g or trouble, 120)
        fault(job)
        event.set()
    output = run.ends(seconds=240)
    check(not trouble, lambda: trouble[0])
    check(hashlib.sha256(output).digest() == hashlib.sha256(data).digest(),
          lambda: f"{len(output)} of {len(data)} bytes came back; the first that differs is at "
          f"{next((i for i, (x, y) in enumerate(zip(output, data)) if x != y), 'the end')}")
    return f"{len(data) // 1000000} MB, {moves} moves"


def echo_through_moves():
    """20 MB there and back through a job that moves four times"""
    with Mesh(["a", "b", "c"]) as mesh:
        return echo(mesh, [lambda job, to=to: mesh["a"].migrate(job, to) for to in "bcab"], 4)


def echo_through_kills():
    """20 MB through cat with kill -9 of its keeper, the daemon at home and the one at the host"""
    with Mesh(["a", "b", "c"]) as mesh:
        home, host = mesh["a"], mesh["b"]

        def kill_keeper(job):
            kill_pid(wait_for("its keeper", lambda: host.keeper_pid(job)))

        def bounce(which):
            which.kill_daemon()
            which.start()
            mesh.wait_alive()

        return echo(mesh, [lambda job: home.migrate(job, "b"), kill_keeper,
                           lambda job: bounce(home), lambda job: bounce(host),
                           lambda job: home.migrate(job, "c"), lambda job: bounce(home)], 2)


def echo_through_a_broken_line():
    """20 MB through cat while the line to its host breaks and comes back"""
    with Mesh(["a", "b", "c"]) as mesh:
        host = mesh["b"]

        def broken(_job):
            host.cut()
            time.sleep(2)  # as long as the line is down
            host.heal()

        return echo(mesh, [lambda job: mesh["a"].migrate(job, "b"), broken], 1)


def followed_through_a_broken_line():
    """attach at home and logs -f from a third node, while the line to the job's host breaks"""
    with Mesh(["a", "b", "c"]) as mesh:
        home, host, third = mesh["a"], mesh["b"], mesh["c"]
        count = "n=0; while [ $n -lt 400 ]; do echo $((n += 1)); sleep 0.02; done; exit 8"
        job = home.run("/bin/sh", "-c", count)
        home.migrate(job, "b")
        followers = [subprocess.Popen(command(node, *words, job), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      preexec_fn=die_with_parent)
                     for node, words in ((home, ("attach",)), (third, ("logs", "-f")))]
        host.cut()
        time.sleep(2)  # as long as the line is down
        host.heal()
        wanted = "".join(f"{n}\n" for n in range(1, 401)).encode()
        for follower, code in zip(followers, (8, 0)):
            shown, said = follower.communicate(timeout=WAIT)
            check((shown, follower.returncode) == (wanted, code),
                  lambda s=shown, e=said, f=follower: f"{len(s)} bytes of {len(wanted)}, exit "
                  f"{f.returncode}: {e[-200:]!r}")


def followed_through_ones_own_daemons_death():
    """logs -f and attach by name on a third node, whose own daemon is killed and comes back"""
    with Mesh(["a", "b", "c"]) as mesh:
        home, third = mesh["a"], mesh["c"]
        job = Counter(mesh, home, name="called", pause=0.05)
        for words in (("logs", "-f"), ("attach",)):
            follower = subprocess.Popen(command(third, *words, "called"),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            seen = int(follower.stdout.readline())
            third.kill_daemon()
            third.start()
            stood = job.last()
            while seen < stood + 20:
                line = follower.stdout.readline()
                check(line.endswith(b"\n"), lambda: f"{words}: exit {follower.wait()} at {seen}")
                check(int(line) == seen + 1, lambda s=seen, l=line: f"{l!r} behind {s}")
                seen += 1
            kill_pid(follower.pid, signal.SIGTERM)
            follower.wait(WAIT)
        job.end()


def fed_through_ones_own_daemons_death():
    """attach --stdin by name on a third node, whose own daemon is killed and comes back"""
    with Mesh(["a", "b", "c"]) as mesh:
        home, third = mesh["a"], mesh["c"]
        run = subprocess.Popen(command(home, "run", "--name", "echo", "--", "cat"),
                               stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for("the job", lambda: [j for j in third.ps() if j["name"] == "echo"])
        feeder = subprocess.Popen(command(third, "attach", "--stdin", "echo"),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, preexec_fn=die_with_parent)
        for line in (b"one\n", b"two\n", b"three\n"):
            feeder.stdin.write(line)
            feeder.stdin.flush()
            check(feeder.stdout.readline() == line, f"{line} did not come back")
            third.kill_daemon()
            third.start()
        shown, said = feeder.communicate(timeout=WAIT)
        check((shown, feeder.returncode) == (b"", 0), lambda: f"{feeder.returncode} {shown} {said}")
        run.stdin.close()
        check(run.wait(WAIT) == 0, lambda: f"the job's own exit: {run.returncode}")


def who_feeds_a_job():
    """attach --stdin takes over, from another node too; a job without input says so"""
    with Mesh(["a", "b"]) as mesh:
        home, other = mesh["a"], mesh["b"]
        run = Attached(home, "cat", name="shared")
        run.write(b"one\n")
        wait_for("the first line back", lambda: run.output == b"one\n")
        job = job_called(home, "shared")
        second = subprocess.Popen(command(other, "attach", "--stdin", job), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        second.stdin.write(b"two\n")
        second.stdin.flush()
        wait_for("the second line back", lambda: run.output == b"one\ntwo\n")
        wait_for("the first to hear of it", lambda: b"somebody else feeds" in run.said)
        second.stdin.close()
        check(run.ends() == b"one\ntwo\n", "it was fed twice")
        check(second.wait(WAIT) == 0, "attach did not end as the job did")
        check(second.stdout.read() == b"one\ntwo\n", "attach showed something else")
        none = home.run("sleep", "1000", name="deaf")
        done = subprocess.Popen(command(home, "attach", "--stdin", none), stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = done.stderr.readline()
        check(b"no standard input" in line, lambda: f"it said {line!r}")
        mesh.end_job(none)
        done.wait(WAIT)


def counted(size):
    """A job that writes so many bytes, each line its number."""
    return ["sh", "-c", f"seq 1 100000000 | head -c {size}"]


def count_to(size):
    lines, length, n = [], 0, 1
    while length < size:
        lines.append(f"{n}\n")
        length += len(lines[-1])
        n += 1
    return "".join(lines).encode()[:size]


def output_at_its_limit():
    """the log keeps to its limit, and whoever is attached misses nothing"""
    size = 30 << 20

    def limited(mesh):
        for host in mesh.hosts:
            host.options = ["--output-limit", "8M"]

    with Mesh(["a", "b"], before_start=limited) as mesh:
        a, b = mesh["a"], mesh["b"]
        want = count_to(size)

        def stored(host, job):
            return max((os.stat(f"{host.state}/jobs/{job}/{name}").st_blocks * 512
                        for name in ("stdout.log", "stderr.log")
                        if os.path.exists(f"{host.state}/jobs/{job}/{name}")), default=0)

        # Attached, but not reading: what has nowhere to go makes the job wait.
        slow = subprocess.Popen(command(a, "run", "--name", "slow", "--", *counted(size)),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
                                preexec_fn=die_with_parent)
        job = job_called(a, "slow")
        wait_for("the job to wait at its limit",
                 lambda: "at the limit" in str(a.events()))
        check(stored(a, job) <= 8 << 20, lambda: f"{stored(a, job)} bytes are stored")
        got, said = slow.communicate(timeout=WAIT)
        check(got == want and slow.returncode == 0,
              lambda: f"{len(got)} bytes of {size} came, exit {slow.returncode}: {said!r}")

        # Nobody reads: it goes on, and the newest is kept.
        job = a.run(*counted(size), name="alone")
        wait_for("the job to end", lambda: a.job(job)[0]["state"] == "exited")
        check(stored(a, job) <= 8 << 20, lambda: f"{stored(a, job)} bytes are stored")
        for host in (a, b):
            log = subprocess.run(command(host, "logs", job), capture_output=True, timeout=WAIT,
                                 check=False)
            check(log.returncode == 0 and b"are kept" in log.stderr,
                  lambda: f"exit {log.returncode}: {log.stderr!r}")
            check(want.endswith(log.stdout) and len(log.stdout) >= 4 << 20,
                  lambda: f"{len(log.stdout)} bytes are shown")

        # Home is away: the job waits where it runs, and nothing is lost.
        away = subprocess.Popen(command(a, "run", "--name", "away", "--", "sh", "-c",
                                        "read x; " + counted(size)[2]),
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, cwd="/", preexec_fn=die_with_parent)
        job = job_called(a, "away")
        wait_for("the job to move", lambda: isinstance(a.migrate(job, "b", ok=False), dict))
        away.stdin.write(b"\n")
        away.stdin.flush()
        wait_for("output to come", lambda: os.read(away.stdout.fileno(), 1))
        a.kill_daemon()
        wait_for("the job to wait at its limit", lambda: "at the limit" in str(b.events()))
        check(stored(b, job) <= 8 << 20, lambda: f"{stored(b, job)} bytes are stored")
        a.start()
        got, said = away.communicate(timeout=120)
        check(got == want[1:] and away.returncode == 0,
              lambda: f"{len(got) + 1} bytes of {size} came, exit {away.returncode}: {said!r}")


TESTS = (pipes_of_a_shell, a_job_that_does_not_read, sort_moved_twice, echo_through_moves,
         echo_through_kills, echo_through_a_broken_line, followed_through_a_broken_line,
         followed_through_ones_own_daemons_death, fed_through_ones_own_daemons_death,
         who_feeds_a_job, output_at_its_limit)

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 900))
