#!/usr/bin/env python3
"""SIGTERM and `tern down` in the middle of a handover: the job never stands still for the daemon's
absence unless it has to, and that is said.

    tests/e2e/test_stops.py [WORD...]     only tests with a WORD in their name

CRIU is stopped (SIGSTOP) while the job is being dumped, so that a handover is surely under way.
"""

import os
import signal
import subprocess
import sys
import time

from harness import Mesh, alive, check, kill_pid, read, run_tests, wait_for
from test_faults import Handover, verify

STOP_SECONDS = 30  # all patience of a daemon's end together, and some (daemon/host.h)


def log_since(host, start):
    with open(host.log, encoding="utf-8", errors="replace") as log:
        log.seek(start)
        return log.read()


class Dumping:
    """A handover whose CRIU stands still on SOURCE, and SOURCE's log from then on."""

    def __init__(self, mesh):
        self.handover = Handover(mesh)
        self.source = self.handover.source
        self.handover.until("freeze")
        # Not while it is still the daemon's child that becomes CRIU: the daemon waits for that.
        self.criu = wait_for("CRIU to run", lambda: [
            pid for pid in self.handover.criu_pids("source")
            if "\0dump\0" in read(f"/proc/{pid}/cmdline")], 20, every=0.0005)
        for pid in self.criu:
            kill_pid(pid, signal.SIGSTOP)
        self.start = os.path.getsize(self.source.log)

    def go_on(self):
        for pid in self.criu:
            kill_pid(pid, signal.SIGCONT)

    def until_logged(self, words, seconds=STOP_SECONDS):
        wait_for(f"the log to say: {words}", lambda: words in log_since(self.source, self.start),
                 seconds)

    def close(self):
        self.go_on()
        self.handover.close()


def ends(host, seconds=STOP_SECONDS, expected=0):
    began = time.monotonic()
    try:
        code = host.daemon.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    check(code == expected, lambda: f"the daemon of {host.name} ended with {code} within {seconds} s")
    return time.monotonic() - began


def finishes_what_has_begun():
    """a daemon that is told to stop brings its handover to an end first"""
    with Mesh(["a", "b", "c"]) as mesh:
        dumping = Dumping(mesh)
        try:
            dumping.source.daemon.terminate()
            dumping.until_logged("waiting_for")
            dumping.go_on()
            took = ends(dumping.source)
            handover = dumping.handover
            check(mesh.only_copy(handover.job) is handover.sink, "the job was not moved")
            handover.counter.wait_further()
            handover.source.start()
            check(verify(handover) == "commit", "no commit")
            return f"ended after {took:.1f} s"
        finally:
            dumping.close()


def withdraws_when_patience_ends():
    """before the seal the original runs on, and goes on running without its daemon"""
    with Mesh(["a", "b", "c"]) as mesh:
        dumping = Dumping(mesh)
        try:
            dumping.source.daemon.terminate()
            dumping.until_logged("is being given up")
            dumping.go_on()
            took = ends(dumping.source)
            handover = dumping.handover
            check(mesh.only_copy(handover.job) is handover.source, "the job is not where it was")
            before = handover.counter.last()
            wait_for("the job to count on without its daemon",
                     lambda: handover.counter.last() > before + 5)
            handover.source.start()
            check(verify(handover) == "abort", "no abort")
            return f"ended after {took:.1f} s more"
        finally:
            dumping.close()


def says_what_stays_frozen():
    """after the seal the job has to wait for the others: `tern down` fails and says so"""
    with Mesh(["a", "b", "c"]) as mesh:
        handover = Handover(mesh)
        try:
            wait_for("the whole stream at SINK", handover.sealed, 60, every=0.0005)
            handover.stop(handover.coordinator)
            handover.until("ready")
            handover.stop(handover.sink)
            if handover.reached("decided"):
                return "decided too soon on this machine"
            down = handover.source.tern("down", ok=False, seconds=STOP_SECONDS + 10)
            ends(handover.source)
            last = read(handover.source.log).splitlines()[-1]
            check(down.returncode == 1 and "stays frozen" in down.stderr
                  and "tern resolve" in down.stderr,
                  lambda: f"tern down: {down.returncode} {down.stderr}")
            check("job_stays" in last and "stays frozen" in last and "tern up" in last,
                  lambda: f"the last line is: {last}")
            check(not mesh.runs_on(handover.source, handover.job), "the original runs")
            handover.go_on()
            handover.source.start()
            return verify(handover)
        finally:
            handover.close()


def ends_at_once_when_told_twice():
    """a second signal ends the daemon at once"""
    with Mesh(["a", "b", "c"]) as mesh:
        dumping = Dumping(mesh)
        try:
            dumping.source.daemon.terminate()
            dumping.until_logged("waiting_for")
            dumping.source.daemon.terminate()
            took = ends(dumping.source, 5, expected=1)
            dumping.go_on()
            wait_for("CRIU to end", lambda: not any(alive(pid) for pid in dumping.criu))
            dumping.source.start()
            return f"after {took:.1f} s, then {verify(dumping.handover)}"
        finally:
            dumping.close()


if __name__ == "__main__":
    sys.exit(run_tests([finishes_what_has_begun, withdraws_when_patience_ends,
                        says_what_stays_frozen, ends_at_once_when_told_twice],
                       sys.argv[1:], seconds=400))
