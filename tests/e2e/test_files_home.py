#!/usr/bin/env python3
"""What stands in the way of a job's files is said before a move begins, and what home has of its
own beside what the job made is kept, and shown.

    tests/e2e/test_files_home.py [WORD...]     only tests with a WORD in their name

As test_files.py, whose hosts and jobs these are. Issue 4, part 4.
"""

import os
import shutil
import subprocess
import sys

from harness import WAIT, check, python, run_tests, tern_binary, wait_for
from test_files import QUIET, Disks, Job, text, tree

# Ends when it is told to, having changed a file and made another.
ENDS_SOON = """
import os, sys, time
folder = sys.argv[1]
open(folder + "/begun", "w").close()
while not os.path.exists(folder + "/end"):
    time.sleep(0.02)
for name, words in (("note", "the job's"), ("large", "x" * (8 << 20))):
    with open(folder + "/" + name, "w") as file:
        file.write(words)
sys.exit(3)
"""


# Works in its folder. Away it changes modes, and removes a folder; at home it makes that anew.
KEEPS_HOUSE = """
import os, shutil, sys, time
os.chdir(sys.argv[1])
n = 0
while True:
    n += 1
    print(n, flush=True)
    if os.path.exists("away"):
        os.remove("away")
        os.chmod(".", 0o710)
        os.chmod("note", 0o640)
        shutil.rmtree("build")
    if os.path.exists("home"):
        os.remove("home")
        os.mkdir("build", 0o700)
        os.chmod(".", 0o750)
    time.sleep(0.02)
"""


# Counts with a file mapped as a library is.
MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    library = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
""" + QUIET


def new_folder(mesh, host):
    """`data`, for --dir, at the same path everywhere, and with something in it at `host`."""
    os.mkdir(mesh.disk(host, "data"))
    os.mkdir(mesh.at("data"))  # as the command sees it
    with open(mesh.disk(host, "data", "note"), "w", encoding="utf-8") as file:
        file.write("old")


def in_the_way_at_home():
    """something deep in --dir at home that is no file: refused before anything is begun"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        new_folder(mesh, a)
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        job.move(b)
        os.mkdir(mesh.disk(b, "data", "sub"))
        with open(mesh.disk(b, "data", "sub", "made"), "w", encoding="utf-8") as file:
            file.write("by the job")
        os.mkdir(mesh.disk(a, "data", "sub"))
        os.mkfifo(mesh.disk(a, "data", "sub", "made"))
        says = mesh.at("data", "sub", "made") + " is no regular file there"
        trial = a.tern("migrate", job.job, a.name, "--dry-run", ok=False)
        check(trial.returncode == 5 and says in trial.stdout, lambda: f"dry run: {trial}")
        done = a.migrate(job.job, a.name, ok=False)
        check(done.returncode == 5 and says in done.stderr, lambda: f"says: {done}")
        job.wait_further()
        check(mesh.only_copy(job.job) is b, "it does not run where it was")
        os.remove(mesh.disk(a, "data", "sub", "made"))
        job.move(a)
        check(text(mesh.disk(a, "data", "sub", "made")) == "by the job", "it did not come home")
        job.end()


def a_library_replaced_at_home():
    """what the job maps, of the same size: the dry run refuses in the move's words, and nothing of
    a move is begun; it comes home when that is moved away"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        with open(mesh.disk(a, "library"), "wb") as file:
            file.write(bytes(10000))
        job = Job(mesh, a, python(), "-c", MAPS, mesh.at("library"))
        job.move(b)
        with open(mesh.disk(a, "upgraded"), "wb") as file:
            file.write(bytes(9999) + b"2")
        os.rename(mesh.disk(a, "upgraded"), mesh.disk(a, "library"))
        says = mesh.at("library") + " was changed at home since the job left"
        trial = a.tern("migrate", job.job, a.name, "--dry-run", ok=False)
        check(trial.returncode == 5 and says in trial.stdout, lambda: f"dry run: {trial}")
        done = a.migrate(job.job, a.name, ok=False)
        check(done.returncode == 5 and says in done.stderr, lambda: f"says: {done}")
        job.wait_further()
        check(mesh.only_copy(job.job) is b, "it does not run where it was")
        os.rename(mesh.disk(a, "library"), mesh.disk(a, "upgraded"))
        job.move(a)
        job.end()


def both_changed_it():
    """a file that both changed: tern run says at its end where the job's version lies, and so
    does tern ps, also after the daemon was killed, until that is removed; and the job's
    files are home by then"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        new_folder(mesh, a)
        run = subprocess.Popen(
            [tern_binary(), "run", "--state", a.state, "--name", "both", "--on", "here", "--dir",
             mesh.at("data"), "--", python(), "-c", ENDS_SOON, mesh.at("data")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
        job = wait_for("the job", lambda: a.ps())[0]["id"]
        wait_for("it to work", lambda: os.path.exists(mesh.disk(a, "data", "begun")))
        check(a.migrate(job, b.name)["outcome"] == "commit", "not moved")
        with open(mesh.disk(a, "data", "note"), "w", encoding="utf-8") as file:
            file.write("its owner's")
        with open(mesh.disk(b, "data", "end"), "w", encoding="utf-8"):
            pass
        _, said = run.communicate(timeout=WAIT)
        beside = mesh.at("data", "note.job-" + job[:8])
        check(run.returncode == 3 and beside in said, lambda: f"{run.returncode}, says: {said}")
        check(text(mesh.disk(a, "data", "note.job-" + job[:8])) == "the job's"
              and text(mesh.disk(a, "data", "large")) == "x" * (8 << 20),
              "its files were not home when it ended")
        check(text(mesh.disk(a, "data", "note")) == "its owner's", "the owner's change is lost")
        for _ in range(2):
            shown = a.tern("ps")
            check(beside in shown.stderr, lambda shown=shown: f"ps says: {shown}")
            check(a.job(job)[0].get("beside") == [beside], lambda: f"ps --json: {a.job(job)}")
            a.kill_daemon()
            a.start()
        os.remove(mesh.disk(a, "data", "note.job-" + job[:8]))
        shown = a.tern("ps")
        check(beside not in shown.stderr, lambda: f"it was removed, and ps says: {shown}")
        check("beside" not in a.job(job)[0], lambda: f"ps --json: {a.job(job)}")


class Slow:
    """A job that ended at `b`, whose files take minutes to `a`, where tern run waits for it."""

    def __init__(self, mesh):
        self.mesh = mesh
        a, b = mesh.hosts
        new_folder(mesh, a)
        self.run = subprocess.Popen(
            [tern_binary(), "run", "--state", a.state, "--on", "here", "--dir", mesh.at("data"),
             "--", python(), "-c", ENDS_SOON, mesh.at("data")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
        self.job = wait_for("the job", lambda: a.ps())[0]["id"]
        wait_for("it to work", lambda: os.path.exists(mesh.disk(a, "data", "begun")))
        check(a.migrate(self.job, b.name)["outcome"] == "commit", "not moved")
        check(mesh.slow_down(b, 0.5), "no slow link")
        with open(mesh.disk(b, "data", "end"), "w", encoding="utf-8"):
            pass
        wait_for("its files to be on their way", lambda: self.owed())

    def owed(self):
        return os.path.exists(os.path.join(self.mesh["b"].state, "files-owed", self.job))

    def ends_before_its_files(self):
        _, said = self.run.communicate(timeout=WAIT)
        check(self.run.returncode == 3, lambda: f"{self.run.returncode}, says: {said}")
        check(text(self.mesh.disk(self.mesh["a"], "data", "note")) == "old", "they were home")

    def they_come(self):
        check(self.mesh.slow_down(self.mesh["b"], 1000), "no fast link")
        says = "what it changed of its files is home now"
        wait_for("home to say that they are there",
                 lambda: any(says in str(event) for event in self.mesh["a"].events()))
        large = self.mesh.disk(self.mesh["a"], "data", "large")
        check(text(large) == "x" * (8 << 20), "they did not come home")


def files_that_take_long():
    """a job's end is told after a while without its files, which come home behind it; tern ps, and
    who wants to end the job, hear meanwhile that it has ended"""
    with Disks(["a", "b"]) as mesh:
        slow = Slow(mesh)
        entry, shown = mesh["a"].job(slow.job)[0], mesh["a"].tern("ps")
        check((entry["state"], entry["exit_code"]) == ("exited", 3), lambda: f"tern ps: {entry}")
        killed = mesh["a"].tern("kill", slow.job, ok=False)
        # 1 where this machine was so slow that the end is told by now.
        check(killed.returncode in (0, 1) and "has ended" in killed.stderr,
              lambda: f"tern kill: {killed.returncode}: {killed.stderr}")
        check(killed.returncode == 1 or (entry.get("homeward") and "on their way home" in shown.stderr),
              lambda: f"tern ps does not say what is on its way: {entry}, {shown.stderr}")
        slow.ends_before_its_files()
        slow.they_come()


def guest_stops_meanwhile():
    """the guest's daemon stops while a job's files go home: whoever waits hears that it ended, and
    the files come when that daemon is there again"""
    with Disks(["a", "b"]) as mesh:
        slow = Slow(mesh)
        check(mesh["b"].stop_daemon() == 0, "it did not stop in order")
        slow.ends_before_its_files()
        mesh["b"].start()
        slow.they_come()


def a_file_became_a_folder():
    """what was a file and is a folder now, and the other way, comes home whole, and what was there
    is kept beside it and said"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        new_folder(mesh, a)
        os.mkdir(mesh.disk(a, "data", "folder"))
        with open(mesh.disk(a, "data", "folder", "in it"), "w", encoding="utf-8") as file:
            file.write("old")
        job = Job(mesh, a, python(), "-c", QUIET, named=mesh.at("data"))
        job.move(b)
        os.remove(mesh.disk(b, "data", "note"))
        os.mkdir(mesh.disk(b, "data", "note"))
        shutil.rmtree(mesh.disk(b, "data", "folder"))
        for names in (("note", "new"), ("folder",)):
            with open(mesh.disk(b, "data", *names), "w", encoding="utf-8") as file:
                file.write("by the job")
        with open(mesh.disk(a, "data", "note"), "w", encoding="utf-8") as file:
            file.write("its owner's")
        job.move(a)
        mark = ".home-" + job.job[:8]
        here = {name: text(mesh.disk(a, "data", name)) for name in tree(mesh.disk(a, "data"))
                if os.path.isfile(mesh.disk(a, "data", name))}
        check(here == {"note/new": "by the job", "folder": "by the job",
                       "note" + mark: "its owner's", "folder" + mark + "/in it": "old"},
              lambda: f"at home: {here}")
        kept = [mesh.at("data", name + mark) for name in ("folder", "note")]
        wait_for("tern ps to say so",
                 lambda: sorted(a.job(job.job)[0].get("kept", [])) == kept)
        check(all(path in a.tern("ps").stderr for path in kept), lambda: f"{a.tern('ps')}")
        job.end()


def modes_and_removed_folders():
    """a job changes the mode of the folder that it is in and removes one: it goes on at home, with
    both as it left them, and what it does there stays"""
    with Disks(["a", "b"]) as mesh:
        a, b = mesh.hosts
        new_folder(mesh, a)
        os.makedirs(mesh.disk(a, "data", "build", "deep"))
        with open(mesh.disk(a, "data", "build", "deep", "made"), "w", encoding="utf-8") as file:
            file.write("old")
        job = Job(mesh, a, python(), "-c", KEEPS_HOUSE, mesh.at("data"), named=mesh.at("data"))

        def mode(*names):
            return os.stat(mesh.disk(a, "data", *names)).st_mode & 0o777

        def told(host, what):
            path = mesh.disk(host, "data", what)
            with open(path, "w", encoding="utf-8"):
                pass
            wait_for("it to be done", lambda: not os.path.exists(path))
            job.wait_further(3)

        job.move(b)
        os.mkdir(mesh.disk(a, "data", "build", "mine"))
        told(b, "away")
        job.move(a)
        check((mode(), mode("note")) == (0o710, 0o640), lambda: f"{mode():o} {mode('note'):o}")
        check(tree(mesh.disk(a, "data")) == ["build", "build/mine", "note"],
              lambda: f"at home: {tree(mesh.disk(a, 'data'))}")
        job.move(b)
        told(b, "away")
        job.move(a)
        check(not os.path.exists(mesh.disk(a, "data", "build")), "the folder is there")
        told(a, "home")
        wait_for("all to be settled", lambda: not [
            name for name in os.listdir(os.path.join(a.state, "files")) if "-e" in name])
        check((mode(), mode("build")) == (0o750, 0o700), lambda: f"{mode():o} {mode('build'):o}")
        job.end()


def a_folder_that_does_not_travel():
    """--dir with a folder of the system, or with none: a sentence, and nothing is run"""
    with Disks(["a"]) as mesh:
        a = mesh["a"]
        for folder, says in (("/etc", "/etc is a folder of the system"), ("/", "cannot travel"),
                             ("", "there is no folder"), (mesh.at("none"), "there is no folder")):
            done = a.tern("run", "--dir", folder, "--", "/bin/true", ok=False)
            check(done.returncode != 0 and says in done.stderr, lambda done=done: f"{done}")
        check(not a.ps(), lambda: f"run all the same: {a.ps()}")


class Small:
    """A job that ended at `b`, with files for which `a`, its home, has no room; tern run waits for it
    at `a`. That disk is in the mount namespace of a's daemon alone."""

    def __init__(self, mesh):
        self.mesh = mesh
        a, b = mesh.hosts
        os.mkdir(self.at_home())
        os.mkdir(mesh.at("data"))  # as the command sees it
        self.run = subprocess.Popen(
            [tern_binary(), "run", "--state", a.state, "--on", "here", "--dir", mesh.at("data"),
             "--", python(), "-c", ENDS_SOON, mesh.at("data")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")
        self.job = wait_for("the job", lambda: a.ps())[0]["id"]
        wait_for("it to work", lambda: os.path.exists(self.at_home("begun")))
        check(a.migrate(self.job, b.name)["outcome"] == "commit", "not moved")

    def at_home(self, *names):
        return f"/proc/{self.mesh['a'].daemon.pid}/root" + self.mesh.at("data", *names)

    def remount(self, options):
        subprocess.run(["nsenter", f"--mount=/proc/{self.mesh['a'].daemon.pid}/ns/mnt", "mount",
                        "-o", "remount," + options, self.mesh.path], check=True)

    def end(self):
        with open(self.mesh.disk(self.mesh["b"], "data", "end"), "w", encoding="utf-8"):
            pass

    def ends_saying(self, says):
        _, said = self.run.communicate(timeout=WAIT)
        check(self.run.returncode == 3 and says in said,
              lambda: f"{self.run.returncode}, says: {said}")

    def said(self):
        return (self.mesh["a"].tern("ps").stderr, self.mesh["a"].job(self.job)[0].get("files_away", ""))

    def owed(self):
        return os.path.exists(os.path.join(self.mesh["b"].state, "files-owed", self.job))


SMALL = {"a": "mount -t tmpfs -o size=4m,mode=755 tmpfs PATH"}


def no_room_at_home():
    """a job ends as a guest while home's disk is too full for its files: tern run ends with the
    job's code and says so, so do tern attach and ps, also after both were restarted, and the
    guest's drain; and they come, whole, when there is room"""
    says = "waits on b for room here"
    with Disks(["a", "b"], SMALL) as mesh:
        a, b = mesh.hosts
        small = Small(mesh)
        small.end()
        small.ends_saying(says)
        check(all(says in said and "no space" in said for said in small.said()),
              lambda: f"tern ps: {small.said()}")
        attached = a.tern("attach", small.job, ok=False)
        check(attached.returncode == 3 and says in attached.stderr, lambda: f"attach: {attached}")
        drained = b.tern("drain")
        check("is not on a yet: there is no room" in drained.stderr, lambda: f"drain: {drained}")
        check("no job is left here" in drained.stderr, lambda: f"drain: {drained}")
        b.tern("drain", "--off")
        for host in (a, b):
            down = host.tern("down").stderr
            check(("waits here for its home" in down) == (host is b), lambda down=down: f"down: {down}")
            host.daemon.wait(WAIT)
            host.start()
            mesh.wait_alive()
            os.makedirs(small.at_home(), exist_ok=True)  # its disk may be another one now
            check(all(says in said for said in small.said()), lambda: f"later: {small.said()}")
        check(small.owed(), "the guest forgot them")
        check(not [name for name in os.listdir(small.at_home()) if name.startswith(".tern")],
              lambda: f"left at home: {os.listdir(small.at_home())}")
        small.remount("size=100m")
        wait_for("its files", lambda: not small.owed())
        check(text(small.at_home("large")) == "x" * (8 << 20) and
              text(small.at_home("note")) == "the job's", "they did not come home whole")
        check(not any(small.said()), lambda: f"they are here, and tern ps says: {small.said()}")
        told = [event["text"] for event in a.events() if "its files" in event.get("text", "")]
        check("what it changed of its files is home now" in told, lambda: f"events: {told}")
        wait_for("the guest to tidy up", lambda: not os.path.exists(mesh.disk(b, "data", "large")))


def home_takes_nothing():
    """a job ends as a guest while home's disk is read-only: they stay with the guest for good, and
    tern run and ps say so, and what to do"""
    says = "was not taken here, and stays on b"
    with Disks(["a", "b"], SMALL) as mesh:
        a, b = mesh.hosts
        small = Small(mesh)
        small.remount("ro,size=100m")
        small.end()
        small.ends_saying(says)
        check(all(says in said and "Read-only file system" in said for said in small.said()),
              lambda: f"tern ps: {small.said()}")
        check(f"on b: tern share {mesh.at('data')} --to a" in small.said()[1],
              lambda: f"tern ps: {small.said()}")
        wait_for("the guest to come to an end", lambda: not small.owed())
        check(text(mesh.disk(b, "data", "note")) == "the job's", "they are not at the guest")
        told = [event["text"] for event in b.events()
                if "stays on this node" in event.get("text", "")]
        check(len(told) == 1, lambda: f"events: {told}")


def home_forgot_the_job():
    """so many jobs have ended at home that it forgets the one whose files wait for room: it says so,
    and the guest comes to an end with them"""
    with Disks(["a", "b"], SMALL) as mesh:
        a, b = mesh.hosts
        small = Small(mesh)
        small.end()
        small.ends_saying("waits on b for room here")
        for _ in range(257):
            a.run("/bin/true")
        wait_for("home to forget it", lambda: not a.job(small.job))
        told = [event["text"] for event in a.events() if "is forgotten here" in event.get("text", "")]
        check(len(told) == 1, lambda: f"events of home: {told}")
        wait_for("the guest to come to an end", lambda: not small.owed())
        told = [event["text"] for event in b.events()
                if "the job is not known there any more" in event.get("text", "")]
        check(len(told) == 1, lambda: f"events of the guest: {told}")
        check(text(mesh.disk(b, "data", "note")) == "the job's" and
              text(mesh.disk(b, "data", "large")) == "x" * (8 << 20), "they are not at the guest")
        check("yet" not in b.tern("drain").stderr, "its drain speaks of them")


TESTS = [a_folder_that_does_not_travel, in_the_way_at_home, a_library_replaced_at_home,
         both_changed_it, files_that_take_long, guest_stops_meanwhile, a_file_became_a_folder,
         modes_and_removed_folders, no_room_at_home, home_takes_nothing, home_forgot_the_job]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 580))
