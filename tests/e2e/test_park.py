#!/usr/bin/env python3
"""Park and wake with real CRIU: nothing of a job's output missing or twice, whatever is killed when.

    tests/e2e/test_park.py [WORD...]      only tests with a WORD in their name

What is claimed of files is read from the job's folder: `park-e<N>` is the parked job, with `.part`
one that is being written, `rests-e<N>` the mark that it has been there, `woken-e<N>` that it may run.
"""

import glob
import json
import os
import re
import subprocess
import sys

from harness import (COUNTER, Counter, Mesh, check, die_with_parent, end_group, event_of, procs,
                     python, read, run_tests, say, tern_binary, wait_for)

MEGABYTES = 24  # of the job: so long is the writing
SETTLE = 60


def files(host, job, pattern):
    return [name for name in glob.glob(host.job_file(job, pattern)) if not name.endswith(".new")]


def parked_file(host, job):
    return [name for name in files(host, job, "park-e*") if not name.endswith(".part")]


def state_of(host, job):
    entries = host.job(job)
    check(len(entries) == 1, lambda: f"{host.name} shows {len(entries)} such jobs")
    return entries[0]["state"]


def processes(host, job):
    return [pid for group in host.job_groups(job) for pid in procs(group)]


def wait_parked(host, job):
    wait_for("the job to be parked", lambda: state_of(host, job) == "parked", SETTLE)
    check(not processes(host, job), "a parked job has processes")
    check(len(parked_file(host, job)) == 1, "a parked job has no file")


def wait_running(host, job, counter):
    wait_for("the job to run", lambda: state_of(host, job) == "running", SETTLE)
    counter.wait_further(seconds=SETTLE)


def start(host, *arguments):
    return subprocess.Popen([tern_binary(), arguments[0], "--state", host.state, *arguments[1:]],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def tidy(host, job):
    """Nothing of a park or a wake is left of a job that runs."""
    left = [name for kind in ("park", "woken", "rests") for name in files(host, job, kind + "-e*")]
    check(not left, lambda: f"left in the job's folder: {left}")
    groups = [os.path.basename(g) for g in glob.glob(host.cgroup + "/criu-*")]
    check(not groups, lambda: f"left of CRIU: {groups}")


def park_and_wake():
    """parked: no process, no output; woken: it goes on, nothing missing or twice; three times"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counter = Counter(mesh, a, megabytes=4)
        for _ in range(3):
            report = json.loads(a.tern("park", counter.job, "--json").stdout)
            check(report["outcome"] == "done" and report["stored_bytes"] > 1000, f"{report}")
            check(set(report["phases"]) == {"preflight", "freeze", "write", "commit", "free"},
                  f"phases: {report['phases']}")
            wait_parked(a, counter.job)
            check(not os.path.exists(a.job_file(counter.job, "keeper.sock")) or
                  a.keeper_pid(counter.job) is None, "a parked job has a keeper")
            stood = counter.last()
            node = next(n for n in a.status()["nodes"])
            check(node["parked"] == 1 and node["jobs"] == 0, f"status: {node}")
            check(a.tern("park", counter.job, ok=False).returncode == 1, "parked twice")
            check(counter.last() == stood, "a parked job counted on")
            report = json.loads(a.tern("wake", counter.job, "--json").stdout)
            check(report["what"] == "wake" and report["outcome"] == "done", f"{report}")
            wait_running(a, counter.job, counter)
            wait_for("the file to go", lambda: not parked_file(a, counter.job))
            tidy(a, counter.job)
        check(a.tern("wake", counter.job, ok=False).returncode == 1, "woke what runs")
        kinds = [e["kind"] for e in a.events() if e.get("rest")]
        check(kinds == ["park", "wake"] * 3, f"events: {kinds}")
        lines = counter.check_output()
        counter.end()
        return f"{lines} lines"


def from_another_node():
    """parked and woken by a person elsewhere; her node sees it, and its log"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        counter = Counter(mesh, a)
        trial = b.tern("park", counter.job, "--dry-run")
        check("would park" in trial.stderr and state_of(a, counter.job) == "running", trial.stderr)
        b.tern("park", counter.job)
        wait_for("b to see it", lambda: state_of(b, counter.job) == "parked")
        check(len(b.logs(counter.job).splitlines()) >= counter.last() - 1, "no log of a parked job")
        for name in ("CONT", "USR1"):
            hears = b.tern("kill", counter.job, name, ok=False)
            check(hears.returncode == 1 and "parked" in hears.stderr, hears.stderr)
        check("would wake" in b.tern("wake", counter.job, "--dry-run").stderr, "no dry run of a wake")
        b.tern("wake", counter.job)
        wait_running(a, counter.job, counter)
        counter.check_output()
        # A guest is parked where it runs, and its home shows it.
        a.migrate(counter.job, "b")
        counter.wait_further()
        mesh.wait_no_seats()
        a.tern("park", counter.job)
        wait_parked(b, counter.job)
        check(state_of(a, counter.job) == "parked", "home does not know")
        a.tern("wake", counter.job)
        wait_running(b, counter.job, counter)
        counter.check_output()
        b.tern("park", counter.job)
        a.tern("kill", counter.job)
        wait_for("its end", lambda: state_of(a, counter.job) == "exited")
        check(a.job(counter.job)[0]["exit_code"] == 143, f"ended with {a.job(counter.job)}")
        wait_for("its file to go", lambda: not parked_file(b, counter.job))


class Moment:
    """A park or a wake under way, and how far it is, from outside."""

    def __init__(self, host, counter, verb):
        self.host, self.job = host, counter.job
        self.command = start(host, verb, counter.job)

    def reached(self, phase):
        groups = self.host.job_groups(self.job)
        if phase == "begun":
            return files(self.host, self.job, "park-e*.part")
        if phase == "frozen":
            return any(event_of(g, "frozen") for g in groups)
        if phase == "dumping":
            return any(os.path.getsize(f) > 1 << 20
                       for f in files(self.host, self.job, "park-e*.part"))
        if phase == "named":
            return parked_file(self.host, self.job)
        if phase == "restoring":
            return any("\0restore\0" in read(f"/proc/{pid}/cmdline")
                       for g in groups for pid in procs(g))
        if phase == "held":
            return any(event_of(g, "frozen") for g in groups)
        if phase == "marked":
            return files(self.host, self.job, "woken-e*")
        raise ValueError(phase)

    def until(self, phase):
        def there():
            with_error = self.command.poll() not in (None, 0)
            check(not with_error, lambda: "it failed: " + self.command.stderr.read())
            with_no_trace = self.command.poll() == 0
            try:
                return self.reached(phase) or with_no_trace
            except OSError:
                return False
        wait_for(f"the phase {phase}", there, 60, every=0.0003)

    def close(self):
        if self.command.poll() is None:
            self.command.kill()
        self.command.communicate()


def killed_when(victim):
    """Kills it at each moment of a park and of a wake; afterwards the job is one thing or the other."""
    told = []
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counter = Counter(mesh, a, megabytes=MEGABYTES)
        for verb, phase in [("park", p) for p in ("begun", "frozen", "dumping", "named")] + \
                           [("wake", p) for p in ("restoring", "held", "marked")]:
            if (verb == "wake") != (state_of(a, counter.job) == "parked"):
                a.tern("park" if verb == "wake" else "wake", counter.job)
            before = state_of(a, counter.job)
            moment = Moment(a, counter, verb)
            try:
                moment.until(phase)
                victim(a, counter.job)
            finally:
                moment.close()
            after = judge(mesh, a, counter)
            told.append(f"{verb} at {phase}: {before} -> {after}")
            say("  " + told[-1])
            if phase == "named":
                check(after == "parked", "the file was there and the job is not parked")
            if phase == "marked":
                check(after == "running", "the mark was there and the job does not run")
            if phase in ("begun", "frozen", "dumping"):
                check(after == "running", "the job is parked without its file")
        if state_of(a, counter.job) == "parked":
            a.tern("wake", counter.job)
        wait_running(a, counter.job, counter)
        lines = counter.check_output()
        tidy(a, counter.job)
        counter.end()
        return f"{len(told)} deaths, {lines} lines"


def judge(mesh, host, counter):
    """One or the other: parked without a process, or one copy that runs."""
    def settled():
        state = state_of(host, counter.job)
        check(state in ("parked", "running"), f"it is {state}")
        if state == "parked":
            check(not processes(host, counter.job), "parked, and it has processes")
            check(parked_file(host, counter.job), "parked without a file")
        else:
            mesh.only_copy(counter.job)
            tidy(host, counter.job)
        return state
    state = wait_for("the job to be parked or to run", settled, SETTLE)
    if state == "running":
        counter.wait_further(seconds=SETTLE)
    check(settled() == state, "that was not the last word")
    counter.check_output()
    return state


def daemon_killed():
    """kill -9 of the daemon at each moment of a park and of a wake"""
    def victim(host, _):
        host.kill_daemon()
        host.start()
    return killed_when(victim)


def reboot():
    """every process of tern and of the job is killed: still parked, with all of its output; it wakes"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counter = Counter(mesh, a, megabytes=2)
        a.tern("park", counter.job)
        wait_parked(a, counter.job)
        a.kill_daemon()
        end_group(a.cgroup)
        # Another boot: the new daemon lives under another boot id than the one before.
        identity = os.path.join(mesh.dir, "boot_id")
        with open(identity, "w", encoding="ascii") as file:
            file.write("01234567-89ab-4cde-8f01-23456789abcd\n")
        a.setup = f"mount --bind {identity} /proc/sys/kernel/random/boot_id"
        a.start()
        wait_parked(a, counter.job)
        check(len(a.logs(counter.job).splitlines()) >= 3, "its output is gone")
        a.tern("wake", counter.job)
        wait_running(a, counter.job, counter)
        lines = counter.check_output()
        counter.end()
        return f"{lines} lines"


def stopped_meanwhile():
    """tern down and up again: what is parked stays so"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counter = Counter(mesh, a)
        a.tern("park", counter.job)
        a.restart()
        wait_parked(a, counter.job)
        a.tern("wake", counter.job)
        wait_running(a, counter.job, counter)
        counter.check_output()
        counter.end()


def no_space():
    """a small disk: refused before the job is touched, and said; it runs on"""
    def small_disk(mesh):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=711", "none",
                               mesh["a"].state], capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
    with Mesh(["a"], before_start=small_disk) as mesh:
        a = mesh["a"]
        try:
            counter = Counter(mesh, a, megabytes=32)
            before = counter.last()
            for arguments in (("park", counter.job, "--dry-run"), ("park", counter.job)):
                refused = a.tern(*arguments, ok=False)
                said = refused.stderr + refused.stdout
                check(refused.returncode == 5, f"exit code {refused.returncode}: {said}")
                check("MiB are free there" in said, said)
            counter.wait_further()
            check(counter.last() > before and state_of(a, counter.job) == "running",
                  "it was touched")
            counter.check_output()
            tidy(a, counter.job)
            counter.end()
        finally:
            a.kill_daemon()
            end_group(a.cgroup)
            subprocess.run(["umount", "-l", a.state], check=False)


def wake_elsewhere():
    """woken on another node it goes on there, with all of its output, and nothing is left behind"""
    with Mesh(["a", "b", "c"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        counter = Counter(mesh, a, megabytes=8)
        a.tern("park", counter.job)
        wait_parked(a, counter.job)
        check("would wake" in a.tern("wake", counter.job, "b", "--dry-run").stderr, "no dry run")
        a.tern("wake", counter.job, "b", seconds=120)
        wait_for("it to run on b", lambda: mesh.only_copy(counter.job) is b)
        counter.wait_further(seconds=SETTLE)
        counter.check_output()
        wait_for("its file to go", lambda: not parked_file(a, counter.job))
        mesh.wait_no_seats()
        # And a guest that is parked comes home.
        a.tern("park", counter.job)
        wait_parked(b, counter.job)
        a.migrate(counter.job, "home")
        wait_for("it to run at home", lambda: mesh.only_copy(counter.job) is a)
        counter.wait_further(seconds=SETTLE)
        lines = counter.check_output()
        counter.end()
        return f"{lines} lines"


class Busy:
    """Processes that are no jobs, in a host's cgroup: it is PLUS while they run."""

    def __init__(self, host, count=6):
        self.group = host.cgroup + "/busy"
        os.makedirs(self.group, exist_ok=True)
        self.processes = [subprocess.Popen(["nice", "-n", "19", python(), "-c", "while True: pass"],
                                           preexec_fn=die_with_parent) for _ in range(count)]
        for process in self.processes:
            with open(self.group + "/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(process.pid))

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        end_group(self.group)


def trit_of(host, name):
    return next(n["trit"] for n in host.status()["nodes"] if n["name"] == name)


def queue():
    """with nobody to take it a job waits; a MINUS node takes it by itself once S < 0"""
    with Mesh(["a", "b", "c"]) as mesh:
        a = mesh["a"]
        busy = {host.name: Busy(host) for host in mesh.hosts}
        try:
            wait_for("all to be PLUS", lambda: all(
                trit_of(host, name) == 1 for host in mesh.hosts for name in "abc"))
            trial = a.tern("run", "--dry-run", "--", "sh", "-c", "true")
            check("would queue" in trial.stderr, lambda: f"{trial.stderr} {a.status()}")
            here = a.tern("run", "--on", "here", "--", "echo", "at once")
            check(here.stdout == "at once\n", f"--on here: {here.stdout} {here.stderr}")
            counter = Counter.__new__(Counter)
            counter.witness = os.path.join(mesh.dir, "witness-queue")
            os.mkdir(counter.witness)
            counter.mesh, counter.home = mesh, a
            done = subprocess.run(
                [tern_binary(), "run", "--state", a.state, "--detach", "--json", "--", python(),
                 "-c", COUNTER, counter.witness, "0", "0.02"], capture_output=True, text=True,
                timeout=60, cwd="/", env={**os.environ, "FROM_HOME": "yes"})
            check(done.returncode == 0, done.stderr)
            report = json.loads(done.stdout)
            check(report.get("queued") is True and "queued: " in done.stderr, done.stderr)
            counter.job = report["job"]
            check(state_of(a, counter.job) == "queued" and counter.last() == 0, "it was started")
            fed = subprocess.Popen(
                [tern_binary(), "run", "--state", a.state, "--name", "fed", "--", "sh", "-c",
                 "sort; echo done"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            fed.stdin.write("b\na\n")
            fed.stdin.close()
            wait_for("what has an input to be queued", lambda: [
                job for job in a.ps() if job["name"] == "fed" and job["state"] == "queued"])
            a.kill_daemon()
            a.start()
            wait_for("it to wait still", lambda: state_of(a, counter.job) == "queued")
            for name in "bc":
                busy[name].end()
            wait_for("a MINUS node to take it", lambda: counter.last() > 0, 120)
            host = wait_for("one copy", lambda: mesh.only_copy(counter.job))
            check(host is not a, "it runs on the busy node")
            pid = next(p for p in processes(host, counter.job)
                       if "FROM_HOME=yes" in read(f"/proc/{p}/environ"))
            check(pid, "its environment did not travel")
            counter.wait_further(seconds=SETTLE)
            counter.check_output()
            check(not parked_file(a, counter.job), "its file is left")
            counter.end()
            check(fed.wait(120) == 0, f"what has an input: exit {fed.returncode}")
            said = fed.stdout.read()
            check(said == "a\nb\ndone\n", f"what has an input: {said!r}")
            for host in mesh.hosts:
                check("does not come up" not in read(host.log), f"{host.name}: held in vain")
            return f"taken by {host.name}"
        finally:
            for one in busy.values():
                one.end()


def by_rule():
    """S < 0: what was parked a minute ago is woken by itself"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counters = [Counter(mesh, a, pause=0.05, name=f"job{i}") for i in range(2)]
        for counter in counters:
            a.tern("park", counter.job)
        for counter in counters:
            wait_for(f"{counter.job} to be woken", lambda c=counter: state_of(a, c.job) == "running",
                     150)
            counter.wait_further(seconds=SETTLE)
            counter.check_output()
        # The oldest first, as tests/balance shows; two that are due at one sampling are woken at
        # once, and whose restore ends first is anybody's guess.
        woken = sorted(e["job"] for e in a.events() if e["kind"] == "wake")
        check(woken == sorted(counter.job for counter in counters), f"woken: {woken}")
        for counter in counters:
            counter.end()


def takes_no_memory_twice():
    """waking a job of 300 MB takes the daemon some 50 MB, and not those of the job"""
    with Mesh(["a"]) as mesh:
        host = mesh["a"]
        counter = Counter(mesh, host, megabytes=300)
        counter.wait_further()
        host.tern("park", counter.job)
        host.restart()  # what parking took does not count
        mesh.wait_alive()
        host.tern("wake", counter.job)
        peak = int(re.search(r"VmHWM:\s+(\d+)", read(f"/proc/{host.daemon.pid}/status")).group(1))
        check(peak < 150 << 10, lambda: f"the daemon took {peak >> 10} MB")
        counter.wait_further()
        counter.check_output()
        counter.end()
        return f"{peak >> 10} MB"


TESTS = [park_and_wake, takes_no_memory_twice, from_another_node, daemon_killed, reboot,
         stopped_meanwhile, no_space, wake_elsewhere, queue, by_rule]


if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], seconds=900))
