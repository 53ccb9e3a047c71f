#!/usr/bin/env python3
"""What is refused before a process is frozen, or is made a job for nothing.

    tests/e2e/test_adopt_refused.py [WORD...]     only tests with a WORD in their name
"""

import glob
import os
import sys

from harness import Mesh, alive, check, python, read, run_tests, wait_for
from test_adopt import REFUSED, Process, adopt, check_result, nothing_left, worker

LOCKS = """
import fcntl, sys, time
one, two = open(sys.argv[1], "w"), open(sys.argv[1] + "2", "w")
kind = getattr(fcntl, sys.argv[2])
fcntl.flock(one, kind)
if kind == fcntl.LOCK_EX:
    fcntl.lockf(two, kind)
time.sleep(600)
"""


def what_has_locked_a_file():
    """its copy would wait for the lock of the frozen original; a shared one both can have"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        locks, shares = (Process(mesh, a, python(), "-c", LOCKS, f"{mesh.dir}/file-{name}", kind,
                                 name=name) for name, kind in (("own", "LOCK_EX"),
                                                               ("all", "LOCK_SH")))
        for process, count in ((locks, 2), (shares, 1)):
            def locked(process=process):
                files = glob.glob(f"/proc/{process.pid}/fdinfo/*")
                return sum("lock:" in read(name) for name in files)
            wait_for("the locks", lambda n=count: locked() == n)
        for options in (["--dry-run"], []):
            done = a.tern("adopt", str(locks.pid), *options, ok=False)
            said = done.stdout + done.stderr
            check(done.returncode == REFUSED, lambda: f"{done}")
            for words in ("/file-own,", "/file-own2,", "cannot have locked at once"):
                check(words in said, lambda: f"{words} is not said: {said}")
        check(alive(locks.pid) and not a.ps(), "it was touched")
        locks.end()
        mesh.end_job(adopt(a, shares.pid)["job"])
        nothing_left(a)


def a_move_that_is_known_to_be_refused():
    """tern migrate PID makes no job of the process when it is known that it will not move"""
    with Mesh(["a", "b"]) as mesh:
        a = mesh["a"]
        process = worker(mesh, a)
        log = "/run/" + mesh.dir.replace("/", "-")
        with open(log, "w", encoding="ascii") as file:
            stays = Process(mesh, a, "/bin/sleep", "600", name="stays", stdout=file)
        for pid, to, words, code in ((process.pid, "nobody", "nobody", 1),
                                     (process.pid, "a", "on a already", 1),
                                     (process.pid, "home", "at home here", 1),
                                     (stays.pid, "b", "a file of the system", REFUSED)):
            done = a.tern("migrate", str(pid), to, ok=False)
            check(done.returncode == code and words in done.stderr, lambda: f"{done}")
            check(alive(pid) and not a.ps(), "it was adopted")
        stays.end()
        os.unlink(log)
        check_result(process)


TESTS = [what_has_locked_a_file, a_move_that_is_known_to_be_refused]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 280))
