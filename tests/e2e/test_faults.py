#!/usr/bin/env python3
"""kill -9 of daemons, keepers and CRIU at each phase of a handover, cut links, stray signals.

    tests/e2e/test_faults.py [WORD...]    only cases with a WORD in their name
    TERN_E2E_ALL=1                        the whole matrix: late restarts and pairs too
    TERN_E2E_MESHES=N                     so many meshes at a time, each with its share of the cases

After every case, however it went: exactly one copy runs (real processes and a witness that no copy
can fool), its output is continuous, every node tells the same outcome, and nothing is left over.

Phases, told apart from outside:
    freeze   the job's cgroup on SOURCE is being frozen
    stream   more than STREAMED bytes have left SOURCE's network namespace; no seal yet
    restore  SINK has the whole stream; CRIU makes the copy (only for CRIU's own death there)
    ready    SINK's copy is held. The coordinator is stopped (SIGSTOP) meanwhile: nothing is decided
    decided  the outcome is in the log. SOURCE is stopped before, when it is the victim: it has not
             acted on it; for the others this is the first event that tells of it
    resumed  the copy on SINK was let go and has counted on
"""

import glob
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass

from harness import (Counter, Failed, Mesh, Watch, check, die_with_parent, event_of, kill_pid,
                     outcomes_in, procs, read, run_tests, say, tern_binary, wait_for)

ALL = os.environ.get("TERN_E2E_ALL") == "1"
MESHES = int(os.environ.get("TERN_E2E_MESHES", "3"))
CASES_MIN = 6  # for each mesh
MEGABYTES = 48  # of the job: so long is the stream
MEGABITS = 800  # of a host's link, where the kernel can bound it
STREAMED = 6 << 20
SETTLE = 90  # seconds until everything is as it should be again
ANSWER = 120  # until the person who asked for the move is answered
PHASES = ["freeze", "stream", "restore", "ready", "decided", "resumed"]


@dataclass(frozen=True)
class Case:
    victim: str  # daemon, keeper, criu; link: SOURCE is cut off; cont: a stray SIGCONT
    role: str  # source, sink, coordinator
    phase: str
    late: bool = False  # restarted (or healed) only when the others have noticed
    pair: bool = False

    @property
    def row(self):
        return (f"{self.victim} of {self.role}" + (", back late" if self.late else "") +
                (", two nodes" if self.pair else ""))

    @property
    def name(self):
        return f"{self.row} at {self.phase}"


def cases():
    five = ["freeze", "stream", "ready", "decided", "resumed"]
    quick = [Case("daemon", role, phase) for role in ("source", "sink", "coordinator")
             for phase in five]
    quick += [Case("keeper", "source", phase) for phase in ("freeze", "ready")]
    quick += [Case("keeper", "sink", "resumed"), Case("criu", "source", "stream"),
              Case("criu", "sink", "restore"), Case("cont", "sink", "ready")]
    quick += [Case("link", "source", phase) for phase in ("stream", "ready")]
    if not ALL:
        return quick
    rest = [Case("daemon", role, phase, late=True) for role in ("source", "sink", "coordinator")
            for phase in five]
    rest += [Case("daemon", role, phase, pair=True) for role in ("source", "sink") for phase in five]
    rest += [Case("daemon", role, "restore") for role in ("source", "sink", "coordinator")]
    # SOURCE's keeper goes when the job has gone; SINK's comes when the copy is let go. CRIU runs on
    # SOURCE from the freeze to the end of the stream, on SINK while it restores, elsewhere never.
    rest += [Case("keeper", "source", phase) for phase in ("stream", "restore", "decided")]
    rest += [Case("criu", "source", "freeze"), Case("criu", "source", "stream", pair=True),
             Case("criu", "sink", "restore", pair=True), Case("cont", "sink", "ready", pair=True)]
    rest += [Case("link", "source", phase) for phase in ("freeze", "restore", "decided", "resumed")]
    rest += [Case("link", "source", phase, pair=True) for phase in five]
    return quick + rest


class Handover:
    """One job on its way from a to b, and how far it is."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.source, self.sink = mesh.hosts[0], mesh.hosts[1]
        self.coordinator = mesh.hosts[2] if len(mesh.hosts) > 2 else None
        self.counter = Counter(mesh, self.source, megabytes=MEGABYTES)
        self.job = self.counter.job
        self.original = self.source.job_groups(self.job)[0]
        self.sent_before = self.sent()
        self.log_before = os.path.getsize(self.sink.log)
        self.watches = {host.name: Watch(host) for host in mesh.hosts}
        self.stopped = []
        self.command = subprocess.Popen(
            [tern_binary(), "migrate", "--state", self.source.state, self.job, self.sink.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def of(self, role):
        return {"source": self.source, "sink": self.sink, "coordinator": self.coordinator}[role]

    # -- how far it is

    def sent(self):
        for line in read(f"/proc/{self.source.daemon.pid}/net/dev").splitlines():
            if line.strip().startswith("eth0:"):
                return int(line.split()[9])
        return 0

    def file_at_sink(self, name):
        return bool(glob.glob(self.sink.job_file(self.job, name + "-e*")))

    def told(self, phase):
        return any(text.startswith(phase) for watch in self.watches.values()
                   for text in watch.phases(self.job))

    def sealed(self):
        """SINK has the seal. Its event `restore` comes when SOURCE has stored it, which is before."""
        with open(self.sink.log, encoding="utf-8", errors="replace") as log:
            log.seek(self.log_before)
            return f"stream_sealed job={self.job}" in log.read()

    def criu_pids(self, role):
        """A dump has a cgroup of its own; a restore runs where the copy is born."""
        if role == "source":
            return self.source.criu_pids(self.job)
        there = [pid for group in self.sink.job_groups(self.job) for pid in procs(group)]
        criu = [pid for pid in there if "\0restore\0" in read(f"/proc/{pid}/cmdline")]
        return sorted(criu)[:1] if len(there) > 1 else []  # once it has begun to make the copy

    def reached(self, phase):
        if phase == "freeze":
            return read(self.original + "/cgroup.freeze").strip() == "1"
        if phase == "stream":
            return self.sent() - self.sent_before > STREAMED
        if phase == "restore":
            return self.sealed()
        if phase == "ready":
            return self.file_at_sink("held")
        if phase == "decided":
            return self.told("resume") or self.file_at_sink("released")
        if phase == "resumed":
            return self.file_at_sink("released") and self.counts_on()
        raise ValueError(phase)

    def counts_on(self):
        if not hasattr(self, "frozen_at"):
            self.frozen_at = self.counter.last()
        return self.counter.last() > self.frozen_at

    def until(self, phase):
        def there():
            if self.reached(phase):
                return True
            check(not self.told("refused") and (phase in PHASES[4:] or not self.told("aborted")),
                  lambda: f"it ended by itself before {phase}: {self.all_told()}")
            return False
        wait_for(f"the phase {phase} ({self.all_told})", there, 60, every=0.0005)

    def all_told(self):
        return {name: watch.phases(self.job) for name, watch in self.watches.items()}

    # -- what is done to it

    def stop(self, host):
        kill_pid(host.daemon.pid, signal.SIGSTOP)
        self.stopped.append(host)

    def go_on(self):
        while self.stopped:
            host = self.stopped.pop()
            if host.runs():
                kill_pid(host.daemon.pid, signal.SIGCONT)

    def close(self):
        self.go_on()
        for watch in self.watches.values():
            watch.close()
        if self.command.poll() is None:
            self.command.kill()
        self.command.communicate()


def lead_to(handover, case):
    """Brings the handover to the phase, with whoever has to wait for the victim's death stopped."""
    if case.phase in ("ready", "decided", "resumed"):
        wait_for(f"the whole stream at SINK ({handover.all_told()})", handover.sealed, 60,
                 every=0.0005)
        if case.phase == "ready":
            handover.stop(handover.coordinator or handover.source)
        elif case.phase == "decided" and case.role == "source" and not case.pair:
            handover.stop(handover.source)
    handover.until(case.phase)


def hurt(handover, case):
    """Does the harm; gives back what mends it, or None, and whether the victim was there."""
    mesh, host = handover.mesh, handover.of(case.role)
    if case.victim == "daemon":
        host.kill_daemon()
        return host.start, True
    if case.victim == "link":
        host.cut()
        return host.heal, True
    if case.victim == "keeper":
        pid = wait_for("the keeper", lambda: host.keeper_pid(handover.job), every=0.001)
        kill_pid(pid)
        return None, True
    if case.victim == "criu":
        pids = wait_for("CRIU to run", lambda: handover.criu_pids(case.role), every=0.0005)
        for pid in pids:
            kill_pid(pid)
        return None, True
    if case.victim == "cont":
        stray_cont(handover)
        return None, True
    raise ValueError(case.victim)


def stray_cont(handover):
    """SIGCONT, often, to every task of both copies: neither runs an instruction."""
    groups = [g for host in handover.mesh.hosts for g in host.job_groups(handover.job)]
    wait_for("the held copy to be frozen", lambda: all(event_of(g, "frozen") for g in groups))
    check(len(groups) == 2, f"{len(groups)} copies instead of two")
    before = handover.counter.last()
    for _ in range(20):
        for group in groups:
            for pid in procs(group):
                for task in os.listdir(f"/proc/{pid}/task"):
                    kill_pid(int(task), signal.SIGCONT)
    for group in groups:
        check(event_of(group, "frozen"), f"{group} is not frozen any more")
    check(handover.counter.last() == before, "a copy ran")


def until_noticed(mesh, host):
    """Until the others call that node suspect or dead."""
    def noticed():
        for other in mesh.hosts:
            if other is not host:
                state = {n["name"]: n["state"] for n in other.status()["nodes"]}[host.name]
                check(state != "alive", f"{other.name} still calls {host.name} alive")
        return True
    wait_for(f"{host.name} to be missed", noticed, 60)


def run_case(mesh, case):
    handover = Handover(mesh)
    try:
        lead_to(handover, case)
        mend, _ = hurt(handover, case)
        began = time.monotonic()
        handover.go_on()
        if case.victim == "link":
            own_right(handover, case)
        elif case.late:
            until_noticed(mesh, handover.of(case.role))
        if mend:
            mend()
        outcome = verify(handover)
        return f"{outcome} {time.monotonic() - began:.1f} s"
    finally:
        handover.close()


def own_right(handover, case):
    """A SOURCE that is cut off. Before the seal it thaws by itself, while nobody can tell it
    anything. After the seal two of three decide without it; a pair waits."""
    if case.phase in ("freeze", "stream"):
        # A job that is being frozen still looks like one that runs.
        wait_for("the freeze to take effect", lambda: event_of(handover.original, "frozen"),
                 every=0.001)
        wait_for("the job to run on, by SOURCE's own right",
                 lambda: handover.mesh.runs_on(handover.source, handover.job), 60)
        handover.counter.wait_further()
    elif not case.pair:
        handover.counter.wait_further(seconds=60)
    else:
        until_noticed(handover.mesh, handover.of(case.role))


def told_outcomes(handover):
    """{epoch: what the nodes tell of it}, by those that live and those that were killed."""
    told = {}
    for host in handover.mesh.hosts:
        events = host.events() + [e for _, e in handover.watches[host.name].seen]
        for epoch, outcome in outcomes_in(events, handover.job):
            told.setdefault(epoch, set()).add(outcome)
    return told


def all_agree(mesh, job, host, state="running"):
    """Every node says that the job is in that state, on that host."""
    for node in mesh.hosts:
        entries = node.job(job)
        check(len(entries) == 1 and entries[0]["state"] == state
              and entries[0]["node"] == host.name,
              lambda n=node, e=entries: f"{n.name} says {[(x['state'], x['node']) for x in e]} of "
              f"{job}, and it is {state} on {host.name}")
    return True


def verify(handover):
    mesh, job, counter = handover.mesh, handover.job, handover.counter
    # All of it is over first. A copy that is being frozen still looks like one that runs, and what
    # was broken off for want of a network is tried again until the person is answered.
    handover.command.wait(ANSWER)
    mesh.wait_alive()
    mesh.wait_no_seats(SETTLE)
    host = wait_for("exactly one running copy", lambda: mesh.only_copy(job), SETTLE)
    counter.wait_further(seconds=SETTLE)
    check(mesh.only_copy(job) is host, "the copy that ran was not the last word")
    counter.check_output()
    wait_for("all nodes to say where it is", lambda: all_agree(mesh, job, host))
    told = told_outcomes(handover)
    # A copy that was found dead (or not held any more) after the decision is void: SOURCE runs on.
    void = any("the original runs on" in text for texts in handover.all_told().values()
               for text in texts)
    ran = "commit" if (host is handover.sink) != void else "abort"
    check(all(len(outcomes) == 1 for outcomes in told.values())
          and (not told or told[max(told)] == {ran}),
          lambda: f"it runs on {host.name}, and the nodes tell of {told}: {handover.all_told()}")

    def tidy():
        for node in mesh.hosts:
            left = [g for g in os.listdir(node.cgroup) if g.startswith(("criu-", "job-"))
                    and not (node is host and g.startswith(f"job-{job}-"))]
            check(not left, lambda: f"left on {node.name}: {left}")
        return True
    wait_for("leftovers to go", tidy)
    counter.end()
    return "void" if void else ran


# ---- the run: one mesh for many cases; after a failure, a new one
#
# A case mostly waits for daemons to notice something, so a few meshes run at a time, each of a
# process of its own, which also gives them names of their own.


def new_mesh(names):
    mesh = Mesh(names)
    mesh.__enter__()
    if not all([mesh.slow_down(host, MEGABITS) for host in mesh.hosts]):
        say("  (this kernel cannot bound a link's speed: phases pass faster here)")
    return mesh


def faults(words):
    wanted = [case for case in cases() if not words or any(word in case.name for word in words)]
    wanted.sort(key=lambda case: case.pair)  # stable: first all of three nodes
    meshes = max(1, min(MESHES, len(wanted) // CASES_MIN))
    if meshes == 1:
        results = run_cases(wanted)
    else:
        with Parts(run_cases, [wanted[i::meshes] for i in range(meshes)]) as parts:
            results = parts.results()
    results = {case: results.get(case.name, "FAILED") for case in cases() if case in wanted}
    print_table(results)
    failed = [case.name for case, result in results.items() if result == "FAILED"]
    check(not failed, f"{len(failed)} of {len(results)}: {'; '.join(failed)}")
    return f"{len(results)} cases"


class Parts:
    """Shares of the cases, each run by a child; a child that dies has failed all of its cases.
    `run` gives what became of a share, by name, as JSON can tell it."""

    def __init__(self, run, shares):
        self.children = []
        for share in shares:
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                die_with_parent(signal.SIGTERM)
                os.close(reader)
                self.child(run, share, writer)
            os.close(writer)
            self.children.append((pid, reader))

    @staticmethod
    def child(run, share, writer):
        code = 1
        try:
            results = run(share)
            with os.fdopen(writer, "w") as pipe:
                json.dump(results, pipe)
            code = 0
        except BaseException:  # pylint: disable=broad-except
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def results(self):
        results = {}
        for pid, reader in self.children:
            with os.fdopen(reader) as pipe:
                results.update(json.loads(pipe.read() or "{}"))
        return results

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for pid, _ in self.children:
            if kind:
                kill_pid(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def run_cases(wanted):
    """{name: what became of it}"""
    mesh, results = None, {}
    try:
        for case in wanted:
            if mesh and (len(mesh.hosts) == 2) != case.pair:
                mesh.__exit__(None, None, None)
                mesh = None
            try:
                mesh = mesh or new_mesh(["a", "b"] if case.pair else ["a", "b", "c"])
                results[case.name] = run_case(mesh, case)
                say(f"  {case.name}: {results[case.name]}")
            except (Failed, OSError, subprocess.SubprocessError, ValueError) as error:
                results[case.name] = "FAILED"
                text = str(error) if isinstance(error, Failed) else traceback.format_exc()
                say(f"  {case.name}: FAILED: {text}")
                if mesh:
                    mesh.__exit__(Failed, None, None)
                mesh = None
    finally:
        if mesh:
            mesh.__exit__(None, None, None)
    return results


def print_table(results):
    """What became of the handover, and the seconds until all was in order again."""
    phases = [p for p in PHASES if any(case.phase == p for case in results)]
    rows = list(dict.fromkeys(case.row for case in results))
    width = max((len(row) for row in rows), default=10)
    say("\n  " + "killed".ljust(width) + "".join(p.rjust(15) for p in phases))
    for row in rows:
        cells = {case.phase: result for case, result in results.items() if case.row == row}
        say("  " + row.ljust(width) + "".join(cells.get(p, "-").rjust(15) for p in phases))
    say("")


def main():
    words = sys.argv[1:]

    def every_fault():
        """one death at a time, at each phase of a handover"""
        return faults(words)
    return run_tests([every_fault], [], seconds=3500 if ALL else 580)


if __name__ == "__main__":
    sys.exit(main())
