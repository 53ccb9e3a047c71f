#!/usr/bin/env python3
"""Files travel with a job: what it has open or maps, and the folder named with --dir.

    tests/e2e/test_files.py [WORD...]     only tests with a WORD in their name

Each host has a disk of its own at the same path (`Disks`). TERN is the binary, TERN_E2E_HELPERS the
folder of the jobs that are compiled. Issue 4, part 4.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys

from harness import (WAIT, Counting, Mesh, check, helper_binary, kill_pid, leave_out, python,
                     run_tests, tern_binary, wait_for)

# Writes each number to a file that stays open, then prints it.
WRITER = """
import sys, time
out = open(sys.argv[1], "w")
n = 0
while True:
    n += 1
    print(n, file=out, flush=True)
    print(n, flush=True)
    time.sleep(0.02)
"""
DATABASE = """
import sqlite3, sys, time
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("create table if not exists numbers (n integer primary key, text)")
n = base.execute("select coalesce(max(n), 0) from numbers").fetchone()[0]
while True:
    try:
        base.execute("begin immediate")
        base.execute("insert into numbers values (?, ?)", (n + 1, "x" * 200))
        base.execute("commit")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        base.close()  # it sees that its file has another inode since the move, and wants it reopened
        base = sqlite3.connect(sys.argv[1], isolation_level=None)
        continue
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""
# Ends when it is told to, leaving a new file and one less.
ENDS = """
import os, sys, time
folder = sys.argv[1]
n = 0
while not os.path.exists(folder + "/end"):
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
for name, words in (("changed", "by the job"), ("made", "by the job"), ("sub/deep", "by the job")):
    os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
    with open(f"{folder}/{name}", "w") as file:
        file.write(words)
os.remove(folder + "/removed")
"""
QUIET = """
import sys, time
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""


class Disks(Mesh):
    """A mesh in which `path` is another folder on each host; from outside it is disk(host)."""

    def __init__(self, names, mounts=None):
        self.mounts = mounts or {}
        super().__init__(names, before_start=self.make_disks)

    def make_disks(self, _):
        self.path = os.path.join(self.dir, "disk")
        os.mkdir(self.path)
        for host in self.hosts:
            os.mkdir(self.disk(host))
            bound = f"mount --bind {self.disk(host)} {self.path}"
            host.setup = self.mounts.get(host.name, bound).replace("PATH", self.path)

    def disk(self, host, *names):
        return os.path.join(self.dir, host.name + "-disk", *names)

    def at(self, *names):
        return os.path.join(self.path, *names)


class Job(Counting):
    """A counting job, started with --dir where that is given."""

    def __init__(self, mesh, host, *command, named=None):
        self.mesh, self.home = mesh, host
        travels = ["--dir", named] if named else []
        done = subprocess.run(
            [tern_binary(), "run", "--state", host.state, "--detach", "--json", "--on", "here",
             *travels, "--", *command], capture_output=True, text=True, timeout=WAIT, cwd="/")
        check(done.returncode == 0, lambda: f"tern run {command}: {done.stderr.strip()}")
        self.job = json.loads(done.stdout)["job"]
        self.wait_further(3)

    def move(self, to):
        """Of wherever it is, to a host; it goes on there."""
        move = self.home.migrate(self.job, to.name)
        check(move["outcome"] == "commit", lambda: f"not moved: {move}")
        self.wait_further()
        check(self.mesh.only_copy(self.job) is to, f"the job does not run on {to.name}")
        self.check_output()
        return move


def tree(folder):
    return sorted(os.path.relpath(os.path.join(top, name), folder)
                  for top, folders, files in os.walk(folder) for name in folders + files)


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check_numbers(path, at_least):
    lines = text(path).splitlines()
    check(lines == [str(n) for n in range(1, len(lines) + 1)], f"{path} has a gap")
    check(len(lines) >= at_least, f"{path} ends at {len(lines)}, and {at_least} were counted")


def a_file_that_is_written():
    """a file open for writing goes along, twice, and comes home whole"""
    with Disks(["a", "b", "c"]) as mesh:
        a, b, c = mesh.hosts
        job = Job(mesh, a, python(), "-c", WRITER, mesh.at("out"))
        moves = [job.move(b)]
        check(os.path.exists(mesh.disk(b, "out")), "the file did not come along")
        moves.append(job.move(c))
        wait_for("the first guest's copy to go", lambda: not tree(mesh.disk(b)))
        moves.append(job.move(a))
        wait_for("the second guest's copy to go", lambda: not tree(mesh.disk(c)))
        counted = job.last()
        job.end()
        check_numbers(mesh.disk(a, "out"), counted)
        check(tree(mesh.disk(a)) == ["out"], lambda: f"left at home: {tree(mesh.disk(a))}")
        return f"{counted} lines, frozen at most {max(m['frozen_seconds'] for m in moves):.2f} s"


def a_mapped_file():
    """C++ with a shared mapping: the file goes along page by page"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        program = mesh.disk(a, "program")
        shutil.copy2(helper_binary("e2e_mapped_job"), program)
        job = Job(mesh, a, mesh.at("program"), mesh.at("numbers"))
        job.move(b)
        check(tree(mesh.disk(b)) == ["numbers", "program"], lambda: f"there: {tree(mesh.disk(b))}")
        job.move(a)
        job.move(b)
        job.move(a)
        wait_for("the guest's copies to go", lambda: not tree(mesh.disk(b)))
        job.end()


def a_database():
    """SQLite writes a database in --dir, moved four times while it does"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.disk(a, "data"))
        os.mkdir(mesh.at("data"))  # as the command sees it
        job = Job(mesh, a, python(), "-c", DATABASE, mesh.at("data", "base.db"),
                  named=mesh.at("data"))
        for to in (b, a, b, a):
            # In a transaction it holds locks, which do not move: refused, unharmed, asked again.
            wait_for(f"a move to {to.name}", lambda to=to: job.move(to))
        counted = job.last()
        job.end()
        with contextlib.closing(sqlite3.connect(mesh.disk(a, "data", "base.db"))) as base:
            check(base.execute("pragma integrity_check").fetchone()[0] == "ok", "it is damaged")
            rows, last = base.execute("select count(*), max(n) from numbers").fetchone()
        check(rows == last >= counted, f"{rows} rows, up to {last}, and {counted} were counted")
        wait_for("the guest's copies to go", lambda: not tree(mesh.disk(b)))
        return f"{rows} rows"


MAKEFILE = """
objects := $(patsubst %.c,%.o,$(wildcard *.c))
program: $(objects)
\tcc -o $@ $^
%.o: %.c
\tcc -O1 -c -o $@ $<
"""


def a_compile():
    """make -j2 of a small tree in --dir, moved twice, gives what it gives unmoved"""
    if not shutil.which("make") or not shutil.which("cc"):
        leave_out("a compile: there is no make or cc")
        return None
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        plain = os.path.join(mesh.dir, "plain")
        for top in (mesh.disk(a, "tree"), plain):
            os.mkdir(top)
            with open(os.path.join(top, "Makefile"), "w", encoding="utf-8") as file:
                file.write(MAKEFILE)
            for n in range(60):
                with open(os.path.join(top, f"part{n}.c"), "w", encoding="utf-8") as file:
                    file.write("#include <stdio.h>\n#include <math.h>\n" +
                               "".join(f"int f{n}_{i}(int x) {{ return x * {i} + {n}; }}\n"
                                       for i in range(100)) + ("int main(void) { return 0; }\n"
                                                               if n == 0 else ""))
        subprocess.run(["make", "-s", "-j2", "-C", plain], check=True, timeout=WAIT * 3)
        os.mkdir(mesh.at("tree"))
        done = a.tern("run", "--detach", "--json", "--on", "here", "--dir", mesh.at("tree"), "--",
                      shutil.which("make"), "-s", "-j2", "-C", mesh.at("tree"))
        job = json.loads(done.stdout)["job"]
        moved = 0
        for to, parts in ((b, 5), (a, 20)):
            at = a if to is b else b
            wait_for("some objects", lambda: sum(
                name.endswith(".o") for name in tree(mesh.disk(at, "tree"))) >= parts)
            moved += a.migrate(job, to.name)["outcome"] == "commit"
        wait_for("the compile to end, and its files to be home",
                 lambda: [e for e in a.job(job) if e["state"] == "exited" and not e.get("homeward")],
                 WAIT * 3)
        check(a.job(job)[0]["exit_code"] == 0, lambda: f"make failed: {a.tern('logs', job).stdout}")
        check(tree(mesh.disk(a, "tree")) == tree(plain),
              lambda: f"differs: {set(tree(plain)) ^ set(tree(mesh.disk(a, 'tree')))}")
        for name in tree(plain):
            with open(os.path.join(plain, name), "rb") as one, \
                    open(mesh.disk(a, "tree", name), "rb") as other:
                check(one.read() == other.read(), f"{name} differs from an unmoved run's")
        return f"{moved} moves"


def what_stands_in_the_way():
    """a file that tern did not put there is kept, and the move refused before the freeze"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        job = Job(mesh, a, python(), "-c", WRITER, mesh.at("out"))
        with open(mesh.disk(b, "out"), "w", encoding="utf-8") as file:
            file.write("somebody's")
        done = a.migrate(job.job, b.name, ok=False)
        check(done.returncode == 5, lambda: f"exit {done.returncode}: {done.stderr}")
        check(mesh.at("out") + " is there already" in done.stderr, lambda: f"says: {done.stderr}")
        check(text(mesh.disk(b, "out")) == "somebody's", "somebody's file was touched")
        job.wait_further()
        check(mesh.only_copy(job.job) is a, "it does not run where it was")
        os.remove(mesh.disk(b, "out"))
        job.move(b)
        job.end()


def no_space():
    """a small disk at the sink: a sentence, and nothing left there"""
    small = {"b": "mount -t tmpfs -o size=8m,mode=755 tmpfs PATH"}
    with Disks(["a", "b"], small) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.disk(a, "data"))
        os.mkdir(mesh.at("data"))
        with open(mesh.disk(a, "data", "large"), "wb") as file:
            file.write(os.urandom(32 << 20))
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        trial = a.tern("migrate", job.job, b.name, "--dry-run", ok=False)
        check(trial.returncode == 5 and "no space" in trial.stdout, lambda: f"dry run: {trial}")
        done = a.migrate(job.job, b.name, ok=False)  # 5: before anything was begun
        check(done.returncode == 5 and "no space" in done.stderr, lambda: f"says: {done}")
        job.wait_further()
        check(mesh.only_copy(job.job) is a, "it does not run where it was")
        there = subprocess.run(["nsenter", f"--mount=/proc/{b.daemon.pid}/ns/mnt", "ls", "-A",
                                mesh.path], capture_output=True, text=True, check=True).stdout
        check(there == "", f"left there: {there}")
        job.end()


def the_sink_is_killed():
    """kill -9 of the sink's daemon while files come: the job runs on, and nothing stays there"""
    with Disks(["a", "b", "c"]) as mesh:
        a, b, _ = mesh.hosts
        os.mkdir(mesh.disk(a, "data"))
        os.mkdir(mesh.at("data"))
        with open(mesh.disk(a, "data", "large"), "wb") as file:
            file.write(os.urandom(64 << 20))
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        if not mesh.slow_down(a, 80):
            leave_out("a kill in mid-stream: there is no queue that bounds what a host sends")
            return
        move = subprocess.Popen([tern_binary(), "migrate", "--state", a.state, job.job, b.name],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("files to come", lambda: tree(mesh.disk(b)))
        b.kill_daemon()
        subprocess.run(["ip", "netns", "exec", a.netns, "tc", "qdisc", "del", "dev", "eth0",
                        "root"], check=False, capture_output=True)
        job.wait_further()
        check(mesh.only_copy(job.job) is a, "it does not run where it was")
        b.start()
        wait_for("what came to go", lambda: not tree(mesh.disk(b)))
        kill_pid(move.pid)
        move.wait()
        mesh.wait_alive()
        wait_for("the job to move after all", lambda: a.migrate(job.job, b.name, ok=True))
        job.wait_further()
        job.end()


def changed_at_home():
    """a file in --dir that was changed at home is kept, and the job's version laid beside it"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.disk(a, "data"))
        os.mkdir(mesh.at("data"))
        with open(mesh.disk(a, "data", "note"), "w", encoding="utf-8") as file:
            file.write("old")
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        job.move(b)
        for host, words in ((a, "its owner's"), (b, "the job's")):
            with open(mesh.disk(host, "data", "note"), "w", encoding="utf-8") as file:
                file.write(words)
        job.move(a)
        check(text(mesh.disk(a, "data", "note")) == "its owner's", "the owner's change is lost")
        beside = [name for name in tree(mesh.disk(a, "data")) if name.startswith("note.job-")]
        check(len(beside) == 1 and text(mesh.disk(a, "data", beside[0])) == "the job's",
              lambda: f"at home: {tree(mesh.disk(a, 'data'))}")
        wait_for("an event to tell of it",
                 lambda: [e for e in a.events() if beside[0] in e.get("text", "")])
        job.end()


def ends_elsewhere():
    """what a job changed comes home when it ends as a guest, and nothing stays there"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.at("data"))
        os.mkdir(mesh.disk(a, "data"))
        for name in ("changed", "removed", "kept", "owned"):
            with open(mesh.disk(a, "data", name), "w", encoding="utf-8") as file:
                file.write("old")
        job = Job(mesh, a, python(), "-c", ENDS, mesh.at("data"), named=mesh.at("data"))
        job.move(b)
        with open(mesh.disk(b, "data", "owned"), "w", encoding="utf-8") as file:
            file.write("by the job")
        with open(mesh.disk(a, "data", "owned"), "w", encoding="utf-8") as file:
            file.write("by its owner")
        with open(mesh.disk(b, "data", "end"), "w", encoding="utf-8"):
            pass
        wait_for("the job to end", lambda: a.job(job.job)[0]["state"] == "exited")
        check(a.job(job.job)[0]["exit_code"] == 0, lambda: a.tern("logs", job.job).stdout[-500:])
        wait_for("the guest's copies to go", lambda: not tree(mesh.disk(b)))
        here = {name: text(mesh.disk(a, "data", name)) for name in tree(mesh.disk(a, "data"))
                if os.path.isfile(mesh.disk(a, "data", name))}
        beside = "owned.job-" + job.job[:8]
        check(here == {"changed": "by the job", "made": "by the job", "sub/deep": "by the job",
                       "kept": "old", "owned": "by its owner", beside: "by the job", "end": ""},
              lambda: f"at home: {here}")
        wait_for("an event to tell of it",
                 lambda: [e for e in a.events() if beside in e.get("text", "")])


def links_come_home():
    """names of one file, and links, go along and come home with what the job made of them"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.at("data"))
        os.mkdir(mesh.disk(a, "data"))
        for name in ("one", "same"):
            with open(mesh.disk(a, "data", name), "w", encoding="utf-8") as file:
                file.write("old")
            os.link(mesh.disk(a, "data", name), mesh.disk(a, "data", name + "-again"))
        os.symlink("old", mesh.disk(a, "data", "link"))
        before = tree(mesh.disk(a, "data"))
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        job.move(b)
        with open(mesh.disk(b, "data", "one"), "w", encoding="utf-8") as file:
            file.write("the job's")
        os.unlink(mesh.disk(b, "data", "link"))
        os.symlink("new", mesh.disk(b, "data", "link"))
        # What it left at home with is not in its way there.
        trial = a.tern("migrate", job.job, a.name, "--dry-run", ok=False)
        check(trial.returncode == 0, lambda: f"{trial}")
        job.move(a)
        check(tree(mesh.disk(a, "data")) == before, lambda: f"at home: {tree(mesh.disk(a))}")
        check(text(mesh.disk(a, "data", "one")) == "the job's", "it is not the job's")
        check(os.path.samefile(mesh.disk(a, "data", "one"), mesh.disk(a, "data", "one-again")),
              "they are two files now")
        check(os.readlink(mesh.disk(a, "data", "link")) == "new", "the link is the old one")
        job.end()


def both_are_started_anew():
    """a guest's end while home is away, and then the guest's daemon killed: its files come home"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        os.mkdir(mesh.at("data"))
        os.mkdir(mesh.disk(a, "data"))
        for name in ("changed", "removed"):
            with open(mesh.disk(a, "data", name), "w", encoding="utf-8") as file:
                file.write("old")
        job = Job(mesh, a, python(), "-c", ENDS, mesh.at("data"), named=mesh.at("data"))
        job.move(b)
        a.kill_daemon()
        with open(mesh.disk(b, "data", "end"), "w", encoding="utf-8"):
            pass
        wait_for("the job to end", lambda: os.listdir(b.state + "/files-owed"))
        b.kill_daemon()
        b.start()
        a.start()
        mesh.wait_alive()
        wait_for("the job to end at home", lambda: a.job(job.job)[0]["state"] == "exited")
        wait_for("the guest's copies to go", lambda: not tree(mesh.disk(b)))
        check(tree(mesh.disk(a, "data")) == ["changed", "end", "made", "sub", "sub/deep"],
              lambda: f"at home: {tree(mesh.disk(a, 'data'))}")
        check(text(mesh.disk(a, "data", "changed")) == "by the job", "it is as it left")
        wait_for("nothing to be owed", lambda: not os.listdir(b.state + "/files-owed"))


TESTS = [a_file_that_is_written, a_mapped_file, a_database, a_compile, what_stands_in_the_way,
         no_space, the_sink_is_killed, changed_at_home, ends_elsewhere, links_come_home,
         both_are_started_anew]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 580))
