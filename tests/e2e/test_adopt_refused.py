#!/usr/bin/env python3
"""What is refused before a process is frozen, or is made a job for nothing; and a file that does
not answer meanwhile.

    tests/e2e/test_adopt_refused.py [WORD...]     only tests with a WORD in their name
"""

import contextlib
import ctypes
import glob
import os
import re
import select
import shutil
import signal
import struct
import sys
import threading

from harness import WAIT, Mesh, alive, check, criu_of, python, read, run_tests, wait_for
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


def what_has_ended():
    """already, and nobody took its exit code; or while it was being adopted"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        dead = Process(mesh, a, "/bin/sleep", "600", name="dead")
        os.kill(dead.pid, signal.SIGKILL)
        wait_for("it to end", lambda: ") Z " in read(f"/proc/{dead.pid}/stat"))
        for options in ((), ("--dry-run",)):
            done = a.tern("adopt", str(dead.pid), *options, ok=False)
            check(done.returncode == 1 and "has ended already" in done.stderr, lambda d=done: f"{d}")
            check("runs on" not in done.stderr and "tern run" in done.stderr, lambda d=done: f"{d}")
        killed = Process(mesh, a, "/bin/sleep", "600", name="killed")
        program, fake = criu_of(a), mesh.dir + "/criu"
        with open(fake, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\n[ "$1" = dump ] && {{ kill -9 {killed.pid}; '
                       'echo "Error (x): planned" >&2; exit 1; }\n'
                       f'exec {program} "$@"\n')
        os.chmod(fake, 0o755)
        a.stop_daemon()
        a.options = ["--criu", fake]
        a.start()
        done = a.tern("adopt", str(killed.pid), ok=False)
        check(done.returncode == REFUSED and "has ended meanwhile" in done.stderr, lambda: f"{done}")
        check("as before" not in done.stderr and not a.ps(), lambda: f"{done}")
        nothing_left(a)


# As x86_64 numbers them; a relative sleep that was stopped goes on as the third.
NANOSLEEP, CLOCK_NANOSLEEP, RESTART_SYSCALL = "35", "230", "219"


@contextlib.contextmanager
def held_opens(path, held):
    """Each open of that file waits until held(pid of who opens it) returns (fanotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    content, open_perm, add, allow = 0x4, 0x10000, 0x1, 1
    fd = libc.fanotify_init(content | 0x1, os.O_RDONLY)
    marked = fd >= 0 and libc.fanotify_mark(fd, add, ctypes.c_uint64(open_perm), -100,
                                            path.encode())
    check(marked == 0, lambda: f"no fanotify: {os.strerror(ctypes.get_errno())}")

    over, tell_over = os.pipe()

    def serve():
        while over not in select.select([fd, over], [], [])[0]:
            event, pid = struct.unpack("=IBBHQii", os.read(fd, 24))[-2:]
            try:
                held(pid)
            finally:
                os.write(fd, struct.pack("=iI", event, allow))
                os.close(event)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        os.close(tell_over)
        thread.join()
        os.close(over)
        os.close(fd)  # whoever waits still goes on


def sleeper(mesh, host, name):
    """Its C library is a file of its own, and its sleep one that only the code there tells."""
    library = re.search(r"(/\S+/libc\.so\.6)", read("/proc/self/maps")).group(1)
    folder = f"{mesh.dir}/lib-{name}"
    os.mkdir(folder)
    copy = shutil.copy(library, folder)
    process = Process(mesh, host, "/bin/sleep", "600", name=name, env={"LD_LIBRARY_PATH": folder})
    wait_for("its library", lambda: copy in read(f"/proc/{process.pid}/maps"))

    def does():
        return read(f"/proc/{process.pid}/syscall").split(" ")[0]
    # Stopped before it sleeps, it would begin an ordinary sleep when it goes on.
    wait_for("its sleep", lambda: does() in (NANOSLEEP, CLOCK_NANOSLEEP))
    os.kill(process.pid, signal.SIGSTOP)
    wait_for("it to stop", lambda: ") T " in read(f"/proc/{process.pid}/stat"))
    os.kill(process.pid, signal.SIGCONT)
    wait_for("its sleep to go on", lambda: does() == RESTART_SYSCALL)
    return process, copy


def a_file_that_does_not_answer():
    """one of the process's, as on a dead mount: the daemon answers others meanwhile"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        process, library = sleeper(mesh, a, "held")
        answers = []

        def held(pid):
            if pid == a.daemon.pid:
                answers.append(a.tern("status", ok=False, seconds=WAIT).returncode)
        with held_opens(library, held):
            job = adopt(a, process.pid)["job"]
        check(answers and not any(answers), lambda: f"the daemon answered: {answers}")
        mesh.end_job(job)
        nothing_left(a)
        process.end()


def a_stop_before_it_answers():
    """the process is put back, without the file"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        process, library = sleeper(mesh, a, "stop")
        home = read(f"/proc/{process.pid}/cgroup")
        dumped, put_back = [], []

        def held(pid):
            if pid != a.daemon.pid:
                dumped.append(pid)  # CRIU
            elif dumped and not put_back:
                check(read(f"/proc/{process.pid}/cgroup") != home, "it was not taken")
                a.daemon.terminate()
                wait_for("it to be put back",
                         lambda: read(f"/proc/{process.pid}/cgroup") == home)
                put_back.append(a.runs())
        with held_opens(library, held):
            a.tern("adopt", str(process.pid), ok=False)
            wait_for("the daemon to end", lambda: not a.runs())
        check(put_back == [True], lambda: f"put back while the daemon waited: {put_back}")
        check(alive(process.pid), "it is gone")
        a.start()
        check(not a.ps(), "it is a job")
        nothing_left(a)
        process.end()


if __name__ == "__main__":
    sys.exit(run_tests([what_has_locked_a_file, a_move_that_is_known_to_be_refused, what_has_ended,
                        a_file_that_does_not_answer, a_stop_before_it_answers], sys.argv[1:], 280))
