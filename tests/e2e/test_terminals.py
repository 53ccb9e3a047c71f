#!/usr/bin/env python3
"""`tern run` at a terminal, and with one for the job (--tty): before and after moves.

    tests/e2e/test_terminals.py [WORD...]     only tests with a WORD in their name

TERN is the binary. Issue 4, part 5. Terminals are driven by Python's pty module.
"""

import contextlib
import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

from harness import WAIT, Mesh, check, procs, read, run_tests, wait_for
from test_attached import command, job_called, shell


class Terminal:
    """A command on a terminal of its own, as a person has it."""

    def __init__(self, *words, rows=24, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(words[0], words)
        self.shown = b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys):
        os.write(self.fd, keys)

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            piece = os.read(self.fd, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.shown += piece
        return piece != b""

    def expect(self, pattern, seconds=WAIT):
        """Waits for it, and forgets what came up to its end."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            alive = self.read(0.2)
            check(alive or re.search(pattern, self.shown),
                  lambda: f"the terminal closed before {pattern!r}: {self.shown[-400:]!r}")
            check(time.monotonic() < deadline,
                  lambda: f"no {pattern!r} on the terminal: {self.shown[-400:]!r}")
        self.shown = self.shown[found.end():]
        return found

    def press_until(self, key, pattern):
        def seen():
            self.type(key)
            self.read(0.3)
            return re.search(pattern, self.shown)
        wait_for(f"{pattern} after a key", seen)
        self.expect(pattern)

    def ends(self, code):
        while self.read(1):
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        check(status == code, lambda: f"it ended with {status}, not {code}: {self.shown[-400:]!r}")

    def is_raw(self):
        return not termios.tcgetattr(self.fd)[3] & termios.ICANON


def lines_from_a_terminal():
    """without --tty: lines that are typed go to the job, Ctrl-D ends, Ctrl-C interrupts"""
    with Mesh(["a"]) as mesh:
        person = Terminal(*command(mesh["a"], "run", "--", "sh", "-c", "cat; echo over; exit 5"))
        person.expect(rb"started")
        person.type(b"hello\n")
        person.expect(rb"hello\r\nhello\r\n")
        person.type(b"\x04")
        person.expect(rb"over\r\n")
        person.ends(5)
        person = Terminal(*command(mesh["a"], "run", "--", "sh", "-c",
                                   "trap 'exit 6' INT; echo up; while :; do sleep 0.1; done"))
        person.expect(rb"up\r\n")
        person.type(b"\x03")
        person.ends(6)


def in_the_background():
    """tern run & in a shell is not stopped by its terminal, and reads it again in front"""
    with Mesh(["a"]) as mesh:
        person = Terminal("/bin/bash", "--norc", "-i")
        run = " ".join(command(mesh["a"], "run"))
        person.type(f"stty -echo; PS1='$ '; {run} -- cat & sleep 1; jobs; echo do'ne'\n".encode())
        seen = person.expect(rb"\[1\]\S*\s+(Running|Stopped)[\s\S]*done\r\n")
        check(seen.group(1) == b"Running", "tern run was stopped in the background")
        person.type(b"fg\n")
        person.expect(rb"-- cat")
        person.type(b"typed\n")
        person.expect(rb"typed\r\n")
        person.type(b"\x04")
        person.expect(rb"\$ ")
        person.type(b"exit\n")
        person.ends(0)


def a_parked_terminal():
    """--tty: a parked job is woken although its terminal's number belongs to somebody else now"""
    with Mesh(["a"]) as mesh, contextlib.ExitStack() as stack:
        host = mesh["a"]
        person = Terminal(*command(host, "run", "--tty", "--name", "shell", "--", "/bin/bash",
                                   "--norc", "-i"))
        person.expect(rb"[#$] ")
        person.type(b"tty\n")
        path = person.expect(rb"(/dev/pts/\d+)\r").group(1).decode()
        job = job_called(host, "shell")
        host.tern("park", job)
        wait_for("its terminal to go", lambda: not os.path.exists(path))
        with contextlib.ExitStack() as others:  # the lowest free number is the next one's
            while not os.path.exists(path):
                ends = os.openpty()
                kept = stack if os.ttyname(ends[1]) == path else others
                for end in ends:
                    kept.callback(os.close, end)
        check(os.path.exists(path), f"nobody has {path}")
        host.tern("wake", job)
        person.press_until(b"echo wo''ken\n", rb"woken\r\n")
        person.type(b"exit 4\n")
        person.ends(4)


def a_terminal_moves():
    """--tty: bash with its size, keys, job control and Ctrl-C, before and after two moves"""
    with Mesh(["a", "b", "c"]) as mesh:
        host = mesh["a"]
        person = Terminal(*command(host, "run", "--tty", "--name", "shell", "--", "/bin/bash",
                                   "--norc", "-i"), rows=31, columns=97)
        person.expect(rb"[#$] ")
        check(person.is_raw(), "the terminal is not raw")
        job = job_called(host, "shell")
        for round_number, (place, size) in enumerate((("a", (31, 97)), ("b", (40, 120)),
                                                      ("c", (25, 81)))):
            if round_number > 0:
                person.resize(*size)
                person.type(b"trap 'echo size $(stty size)' WINCH; : m'a'rk\n")
                person.expect(rb"m'a'rk[\s\S]*[#$] ")
                host.migrate(job, place)
            person.type(b"stty size; echo n=$((++n))\n")
            person.expect(f"{size[0]} {size[1]}\r\n".encode())
            person.expect(f"n={round_number + 1}\r\n".encode())
            person.type(b"sleep 1000\n")

            def sleeps(at=place):
                return any(read(f"/proc/{pid}/comm") == "sleep\n"
                           for group in mesh[at].job_groups(job) for pid in procs(group))
            wait_for("sleep to run", sleeps)
            person.type(b"\x1a")
            person.expect(rb"Stopped")
            person.type(b"kill -9 %1\n")
            person.expect(rb"[#$] ")
            # Bash 5.2 forgets a SIGCHLD that comes while it prints that the job is stopped, on any
            # terminal, until it has another child.
            person.press_until(b"/bin/true\n", rb"Killed")
            person.type(b"sleep 1000\n")
            wait_for("sleep to run", sleeps)
            person.type(b"\x03")
            person.expect(rb"\^C")
        person.type(b"exit 4\n")
        person.ends(4)


def what_nobody_has_read_moves():
    """--tty: what the job wrote before a move, and nobody read, comes as it would have"""
    with Mesh(["a", "b"]) as mesh:
        host = mesh["a"]
        begin, written = os.path.join(mesh.dir, "begin"), os.path.join(mesh.dir, "written")
        writes = f"while ! test -e {begin}; do sleep 0.05; done; printf 'one\\ntwo\\n'; : > {written}; cat"
        person = Terminal(*command(host, "run", "--tty", "--name", "writes", "--", "/bin/sh", "-c",
                                   f"echo here; {writes}"))
        person.expect(rb"here\r\n")
        job = job_called(host, "writes")

        def init(at):
            return next(pid for group in mesh[at].job_groups(job) for pid in procs(group)
                        if read(f"/proc/{pid}/status").split("NSpid:")[1].split()[1] == "1")
        reader = init("a")
        os.kill(reader, signal.SIGSTOP)
        wait_for("its reader to stop", lambda: ") T " in read(f"/proc/{reader}/stat"))
        with open(begin, "w", encoding="ascii"):
            pass
        wait_for("it to write", lambda: os.path.exists(written))
        moved = host.migrate(job, "b")
        check(moved["outcome"] == "commit", lambda: f"not moved: {moved}")
        os.kill(init("b"), signal.SIGCONT)
        seen = person.expect(rb"(one[\r\n]+two[\r\n]+)").group(1)
        check(seen == b"one\r\ntwo\r\n", lambda: f"it shows {seen!r}")
        person.type(b"\x04")
        person.ends(0)


def a_users_terminal_moves():
    """--tty of somebody who is not root, to a node that takes such jobs and back"""
    def policy(mesh):
        for name in ("a", "b"):
            mesh[name].options = ["--policy-uids", "65534"]
    with Mesh(["a", "b"], before_start=policy) as mesh:
        host = mesh["a"]
        person = Terminal("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                          *command(host, "run", "--tty", "--name", "mine", "--", "/bin/bash",
                                   "--norc", "-i"))
        person.expect(rb"\$ ")
        job = job_called(host, "mine")
        for number, place in enumerate(("b", "a")):
            host.migrate(job, place)
            person.type(b"echo $((++n)) of $(id -u) at $(stat -c %u $(tty))\n")
            person.expect(f"{number + 1} of 65534 at 65534\r\n".encode())
        person.type(b"exit 3\n")
        person.ends(3)


def away_and_back():
    """--tty: Ctrl-] z suspends, fg continues; Ctrl-] q detaches; attach --stdin comes back; the
    terminal is always given back as it was"""
    with Mesh(["a", "b"]) as mesh:
        host = mesh["a"]
        person = Terminal("/bin/bash", "--norc", "-i")
        run = " ".join(command(host, "run"))
        person.type(b"PS1='outer> '\n")
        person.expect(rb"outer> $")
        person.type(f"{run} --tty --name inner -- /bin/bash --norc -i\n".encode())
        person.expect(rb"started[\s\S]*[#$] $")
        check(person.is_raw(), "the terminal is not raw")
        person.type(b"x=4")
        person.expect(rb"x=4")
        person.type(b"2\n")
        person.expect(rb"[#$] $")
        person.type(b"\x1dz")
        person.expect(rb"Stopped[\s\S]*outer> $")
        person.type(b"stty -a | grep -o '[-]*icanon'; fg\n")
        person.expect(rb"[\r\n]icanon\r\n[\s\S]*--tty")
        person.type(b"echo $((x))\n")
        person.expect(rb"42\r\n")
        person.type(b"\x1dq")
        person.expect(rb"detached[\s\S]*outer> $")
        person.type(b"stty -a | grep -o '[-]*icanon'\n")
        person.expect(rb"[\r\n]icanon\r\n")
        job = job_called(host, "inner")
        host.migrate(job, "b")
        attach = " ".join(command(mesh["b"], "attach"))
        person.resize(33, 77)
        person.type(f"{attach} --stdin {job}\n".encode())
        person.expect(rb"42\r\n")
        person.type(b"stty size; echo x is $((x))\n")
        person.expect(rb"33 77\r\n[\s\S]*x is 42\r\n")
        person.type(b"exit\n")
        person.expect(rb"outer> $")
        # Killed by a signal that it could not know: the terminal is given back.
        person.type(f"{run} --tty --name third -- /bin/sh -i\n".encode())
        person.expect(rb"started[\s\S]*[#$] $")
        third = job_called(host, "third")
        clients = shell(f"pgrep -f -- '--tty --name third'").stdout.split()
        check(clients, "no client to be found")
        os.kill(int(clients[-1]), signal.SIGSEGV)
        person.expect(rb"outer> $")
        person.type(b"stty -a | grep -o '[-]*icanon'\n")
        person.expect(rb"[\r\n]icanon\r\n")
        mesh.end_job(third)
        person.type(b"exit\n")
        person.ends(0)


def the_daemon_is_away():
    """--tty: while the daemon is away the terminal is the person's; a new one takes it again"""
    with Mesh(["a"]) as mesh:
        host = mesh["a"]

        def begin(name):
            person = Terminal(*command(host, "run", "--tty", "--name", name, "--", "cat"))
            person.expect(rb"started")
            wait_for("a raw terminal", person.is_raw)
            person.type(b"up\r")
            person.expect(rb"up\r\nup\r\n")
            return person
        persons = begin("one"), begin("two")
        host.kill_daemon()
        for person in persons:
            person.expect(rb"the daemon went away")
            wait_for("the terminal as it was", lambda p=person: not p.is_raw())
        persons[0].type(b"\x03")
        persons[0].expect(rb"detached")
        persons[0].ends(130)
        host.start()
        wait_for("a raw terminal again", persons[1].is_raw)
        persons[1].type(b"again\r")
        persons[1].expect(rb"again\r\nagain\r\n")
        persons[1].type(b"\x1dq")
        persons[1].expect(rb"detached")
        persons[1].ends(0)
        for name in ("one", "two"):
            mesh.end_job(job_called(host, name))


TESTS = (lines_from_a_terminal, in_the_background, a_parked_terminal, a_terminal_moves,
         what_nobody_has_read_moves, a_users_terminal_moves, away_and_back, the_daemon_is_away)

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 400))
