#!/usr/bin/env python3
"""Processes that tern did not start become jobs: adopted, moved, refused, with the daemon killed.

    tests/e2e/test_adopt.py [WORD...]     only tests with a WORD in their name

The programs tell what they do by making folders: each number is one, which can be made once only,
so two copies that ran at any time are caught, and no file is open for that.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

from harness import (WAIT, Failed, Mesh, alive, check, criu_of, die_with_parent, event_of, inside,
                     kill_pid, procs, python, read, run_tests, say, tern_binary, wait_for)

UID, GID = 65534, 65534  # nobody
REFUSED = 5

# Steps that depend on each other and on a file that stays open; ends with the result, and as its
# exit status the number of times that it saw its own PID change.
WORKER = r"""
import hashlib, os, sys, time
folder = sys.argv[1]
data = open(folder + "/data", "rb")
ballast = bytearray(os.urandom(1 << 20) * 16)
before = hashlib.sha256(ballast).hexdigest()
state, pid, changed = b"", os.getpid(), 0
n, last = 0, None
while n != last:
    n += 1
    data.seek(n * 4096 % 65536)
    state = hashlib.sha256(state + data.read(100)).digest()
    changed += os.getpid() != pid
    try:
        os.mkdir(f"{folder}/steps/{n}")
    except FileExistsError:
        os.makedirs(f"{folder}/steps/twice-{n}")
    if last is None and os.path.exists(folder + "/go"):
        last = n + 20
    time.sleep(0.02)
whole = hashlib.sha256(ballast).hexdigest() == before
with open(folder + "/result.new", "w") as file:
    file.write(f"{n} {state.hex()} {whole} {changed}")
os.rename(folder + "/result.new", folder + "/result")
sys.exit(7)
"""


def as_user(host, *arguments, seconds=WAIT):
    """tern as somebody who is nobody here, and has no home folder."""
    return subprocess.run([tern_binary(), arguments[0], "--state", host.state, *arguments[1:]],
                          capture_output=True, text=True, timeout=seconds, cwd="/", user=UID,
                          group=GID, extra_groups=[],
                          env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})


def prepare(terminal):
    die_with_parent()
    if terminal is not None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Process:
    """What somebody started beside tern, on one host's network."""

    def __init__(self, mesh, host, *command, user=None, session=False, name="work",
                 terminal=None, **streams):
        self.mesh = mesh
        self.folder = f"{mesh.dir}/{name}"
        os.makedirs(self.folder + "/steps", exist_ok=True)
        with open(self.folder + "/data", "wb") as file:
            file.write(b"".join(bytes([i % 251]) for i in range(65536)))
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                   "stderr": subprocess.DEVNULL, **streams}
        if user is not None:
            for path in (self.folder, self.folder + "/steps"):
                os.chown(path, user, GID)
            options |= {"user": user, "group": GID, "extra_groups": []}
        # Here and not by nsenter, which would have to be root.
        with inside(host.netns):
            self.process = subprocess.Popen(command, cwd="/", start_new_session=session,
                                            preexec_fn=lambda: prepare(terminal), **options)
        self.pid = self.process.pid

    def steps(self):
        names = os.listdir(self.folder + "/steps")
        check(not any(name.startswith("twice") for name in names), f"done twice: {names}")
        return len(names)

    def wait_further(self, by=3, seconds=WAIT):
        there = self.steps()
        wait_for("the process to go on", lambda: self.steps() >= there + by, seconds)

    def ended(self):
        return self.process.poll() is not None

    def end(self):
        if not self.ended():
            self.process.kill()
        self.process.wait()

    def result(self):
        with open(self.folder + "/go", "w", encoding="ascii"):
            pass
        return wait_for("the result", lambda: read(self.folder + "/result"))


def worker(mesh, host, *, program=None, **options):
    folder = f"{mesh.dir}/{options.get('name', 'work')}"
    process = Process(mesh, host, program or python(), "-c", WORKER, folder, **options)
    wait_for("the first steps", lambda: process.steps() >= 3)
    return process


def unmoved_result(steps):
    data = b"".join(bytes([i % 251]) for i in range(65536))
    state = b""
    for n in range(1, steps + 1):
        at = n * 4096 % 65536
        state = hashlib.sha256(state + data[at:at + 100]).digest()
    return f"{steps} {state.hex()} True 0"


def adopt(host, pid, *options):
    done = host.tern("adopt", str(pid), "--json", *options, ok=False)
    check(done.returncode == 0, lambda: f"not adopted: {done.stderr.strip()}")
    return json.loads(done.stdout)


def nothing_left(host):
    for pattern in ("adopt-*", "criu-*", "guard-*"):
        wait_for(f"{pattern} to go", lambda p=pattern: not glob.glob(f"{host.cgroup}/{p}"))
    left = glob.glob(host.state + "/jobs/*/adopting*")
    check(not left, f"left in job folders: {left}")


def check_result(process):
    said = process.result()
    steps = process.steps()
    check(said == unmoved_result(steps), lambda: f"{said}, not {unmoved_result(steps)}")


def exit_code(host, job):
    return wait_for("the end to be known", lambda: [j for j in host.job(job)
                                                    if j["state"] == "exited"])[0]["exit_code"]


def adopted_and_moved():
    """a Python process with memory and an open file: adopted, moved away and back, throttled,
    parked and woken; the same result and PID as without, and its exit code is the job's"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        process = worker(mesh, a)
        report = adopt(a, process.pid, "--name", "taken")
        job = report["job"]
        check(report["name"] == "taken" and not report["obstacles"], f"{report}")
        check(any("sees it end" in note for note in report["notes"]), f"notes: {report['notes']}")
        wait_for("the parent to see it end", process.ended)
        check(process.process.returncode == -signal.SIGKILL, f"{process.process.returncode}")
        check(mesh.only_copy(job) is a, "the job does not run here")
        nothing_left(a)
        process.wait_further()
        shown = a.job(job)[0]
        check(shown["state"] == "running" and shown["name"] == "taken", f"ps: {shown}")
        for source, sink in ((a, b), (b, a)):
            source.migrate(job, sink.name)
            check(mesh.only_copy(job) is sink, f"it does not run on {sink.name}")
            process.wait_further()
            mesh.wait_no_seats()
        a.tern("throttle", job, "20")
        a.tern("throttle", job, "off")
        a.tern("park", job)
        check(not mesh.copies(job), "a parked job has processes")
        a.tern("wake", job)
        process.wait_further()
        check_result(process)
        check(exit_code(a, job) == 7, f"{a.job(job)}")


def migrate_takes_a_pid():
    """tern migrate PID NODE adopts it first; --dry-run does nothing"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        process = worker(mesh, a, session=True)
        trial = a.tern("migrate", str(process.pid), "b", "--dry-run")
        check("would adopt" in trial.stderr and not a.ps(), trial.stderr)
        check(alive(process.pid), "a dry run ended it")
        nobody = a.tern("migrate", str(2 ** 22 - 1), "best", ok=False)
        check(nobody.returncode == 1 and "no process of that number" in nobody.stderr, f"{nobody}")
        # A job that is called like that: neither is taken for the other.
        clash = a.run("/bin/sleep", "600", name=str(process.pid))
        done = a.tern("migrate", str(process.pid), "b", ok=False)
        check(done.returncode == 1 and "means a job" in done.stderr, f"{done}")
        mesh.end_job(clash)
        wait_for("the name to be free", lambda: a.job(clash)[0]["state"] == "exited")
        moved = a.migrate(str(process.pid), "b")
        check(moved["outcome"] == "commit", f"{moved}")
        check(mesh.only_copy(moved["job"]) is b, "it does not run on b")
        wait_for("b to run it", lambda: b.job(moved["job"])[0]["state"] == "running")
        check_result(process)
        check(exit_code(a, moved["job"]) == 7, f"{a.job(moved['job'])}")
        process.process.wait()
        gone = a.tern("migrate", str(process.pid), "b", ok=False)
        check(gone.returncode == 1 and "has ended already" in gone.stderr, gone.stderr)


def a_tree_with_pipes():
    """a shell with a pipeline: all of it, what is in its pipes too"""
    producer = ("import os,sys,time\n"
                "for n in range(1, 301):\n"
                "    print(n, flush=True)\n"
                "    os.mkdir(sys.argv[1] + f'/steps/{n}')\n"
                "    while n == 280 and not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.02)\n"
                "    time.sleep(0.01)\n")
    consumer = ("import sys,time\n"
                "total = 0\n"
                "for line in sys.stdin:\n"
                "    total = (total * 31 + int(line)) % 1000003\n"
                "    time.sleep(0.013)\n"
                "open(sys.argv[1] + '/new', 'w').write(str(total))\n"
                "import os; os.rename(sys.argv[1] + '/new', sys.argv[1] + '/result')\n")
    expected = 0
    for n in range(1, 301):
        expected = (expected * 31 + n) % 1000003
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        folder = f"{mesh.dir}/work"
        script = '"$1" -c "$2" "$4" | "$1" -c "$3" "$4"; exit 5'
        process = Process(mesh, a, "/bin/bash", "-c", script, "bash", python(), producer, consumer,
                          folder)
        wait_for("the first steps", lambda: process.steps() >= 3)
        report = adopt(a, process.pid)
        check(len(report["processes"]) == 3, f"{report['processes']}")
        process.wait_further()
        a.migrate(report["job"], "b")
        check(mesh.only_copy(report["job"]) is b, "it does not run on b")
        process.wait_further()
        check(process.result() == str(expected), "numbers were lost or doubled")
        check(exit_code(a, report["job"]) == 5, f"{a.job(report['job'])}")


def one_at_a_terminal():
    """refused, unless its terminal is to be left: then its input ends, its output is in the log from
    the next line on, and it moves"""
    program = ("import os, select, sys, time\n"
               "n, ended = 0, False\n"
               "while not os.path.exists(sys.argv[1] + '/go'):\n"
               "    n += 1\n"
               "    os.mkdir(sys.argv[1] + f'/steps/{n}')\n"
               "    print(n, flush=True)\n"
               "    if not ended and select.select([0], [], [], 0)[0] and not os.read(0, 1):\n"
               "        ended = True\n"
               "        print('end of input', file=sys.stderr, flush=True)\n"
               "    time.sleep(0.02)\n"
               "sys.exit(3)\n")
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        master, slave = os.openpty()
        shown = []
        reader = threading.Thread(target=read_all, args=(master, shown), daemon=True)
        reader.start()
        process = Process(mesh, a, python(), "-c", program, f"{mesh.dir}/work", session=True,
                          stdin=slave, stdout=slave, stderr=slave, terminal=slave)
        os.close(slave)
        wait_for("the first steps", lambda: process.steps() >= 3)
        done = a.tern("adopt", str(process.pid), "--dry-run", ok=False)
        check(done.returncode == REFUSED and "--leave-terminal" in done.stdout, f"{done}")
        report = adopt(a, process.pid, "--leave-terminal")
        check(any("its input ends" in note for note in report["notes"]), f"{report['notes']}")
        job = report["job"]
        process.wait_further()
        reader.join(WAIT)  # nobody has the other end any more
        a.migrate(job, "b")
        check(mesh.only_copy(job) is b, "it does not run on b")
        process.wait_further()
        with open(process.folder + "/go", "w", encoding="ascii"):
            pass
        check(exit_code(a, job) == 3, f"{a.job(job)}")
        before = b"".join(shown).decode().split()
        count = process.steps() - len(before)
        wait_for("the log to be at home", lambda: len(a.logs(job).splitlines()) >= count)
        told = a.tern("logs", job)
        check(told.stderr.count("end of input") == 1, f"its input did not end: {told.stderr}")
        log = told.stdout.splitlines()
        numbers = before + log
        wanted = [str(n) for n in range(1, process.steps() + 1)]
        wrong = [(n, numbers.count(n)) for n in wanted if numbers.count(n) != 1]
        check(numbers == wanted, f"lines and how often: {wrong} of {len(wanted)}; the log begins "
              f"with {log[:1]}")


def read_all(fd, into):
    with contextlib.suppress(OSError):
        while data := os.read(fd, 4096):
            into.append(data)


def one_that_forks():
    """a shell that starts programs all the time, while it is gathered too"""
    script = ('n=0; while [ ! -e "$1/go" ] || [ $n -lt 100 ]; do n=$((n + 1)); mkdir "$1/steps/$n"; '
              '/bin/true; (exit 0); done; echo $n > "$1/new"; mv "$1/new" "$1/result"')
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        process = Process(mesh, a, "/bin/sh", "-c", script, "sh", f"{mesh.dir}/work")
        wait_for("the first steps", lambda: process.steps() >= 3)

        def taken():
            """Who lost his parent meanwhile is a reason to try again, said so."""
            done = a.tern("adopt", str(process.pid), "--json", ok=False)
            check(done.returncode == 0 or "try again" in done.stderr, done.stderr)
            return done.returncode == 0 and json.loads(done.stdout)
        job = wait_for("it to be taken", taken)["job"]
        process.wait_further(20)
        check(mesh.only_copy(job) is a, "it does not run")
        check(int(process.result()) == process.steps(), "a step is missing")
        nothing_left(a)


def whose_it_is():
    """a user adopts her own and nobody else's; hers moves as her jobs do"""
    def policy(mesh):
        for host in mesh.hosts:
            host.options = ["--policy-uids", str(UID)]
    with Mesh(["a", "b"], before_start=policy) as mesh:
        a, b = mesh.hosts
        roots = worker(mesh, a, name="roots")
        for options in ([], ["--dry-run"]):
            done = as_user(a, "adopt", str(roots.pid), *options)
            check(done.returncode == REFUSED and "only root" in done.stdout + done.stderr,
                  f"{done}")
        hers = worker(mesh, a, user=UID, name="hers")
        done = as_user(a, "adopt", str(hers.pid), "--json")
        check(done.returncode == 0, lambda: done.stderr)
        job = json.loads(done.stdout)["job"]
        hers.wait_further()
        for _, _, pids, _ in mesh.copies(job):
            for pid in pids:
                check(os.stat(f"/proc/{pid}").st_uid == UID, f"process {pid} is somebody else's")
                check("NoNewPrivs:\t1" in read(f"/proc/{pid}/status"), "it may gain privileges")
        done = as_user(a, "migrate", job, "b", seconds=120)
        check(done.returncode == 0, lambda: done.stderr)
        check(mesh.only_copy(job) is b, "it does not run on b")
        check_result(hers)
        roots.wait_further()
        other = worker(mesh, a, user=UID, name="other")
        adopt(a, other.pid)  # root takes anybody's
        check_result(other)
        roots.end()


def refusals():
    """what cannot be adopted is said, each in a sentence; nothing is touched, exit 5"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]

        def refused(pid, *words, options=("--dry-run",), code=REFUSED):
            done = a.tern("adopt", str(pid), *options, ok=False)
            said = done.stdout + done.stderr
            check(done.returncode == code, lambda: f"{words}: exit {done.returncode}: {said}")
            for word in words:
                check(word in said, lambda: f"{word} is not said: {said}")
        refused(1, "process 1")
        refused(a.daemon.pid, "tern itself")
        refused(os.getpid(), "tern among its descendants", "another shell")
        refused(2 ** 22 + 1, "not there", code=1)
        reader, writer = os.pipe()
        ends = Process(mesh, a, "/bin/sleep", "600", stdout=writer, name="pipe")
        os.close(writer)
        refused(ends.pid, "its output", "is a pipe", f"({os.getpid()})", "stays outside")
        refused(ends.pid, "its output", "runs on", options=())
        here = Process(mesh, a, python(), "-c", "import socket,time; s = socket.create_server(('', "
                       "7999)); u = socket.socket(socket.AF_UNIX); u.bind('\\0adopt-test'); "
                       "time.sleep(600)", name="ports")
        wait_for("the port", lambda: "adopt-test" in read(f"/proc/{here.pid}/net/unix"))
        refused(here.pid, "listens at", "7999", "@adopt-test")
        elsewhere = subprocess.Popen(["/bin/sleep", "600"], preexec_fn=die_with_parent)
        refused(elsewhere.pid, "net namespace")
        elsewhere.kill()
        elsewhere.wait()
        master, slave = os.openpty()
        sits = Process(mesh, a, "/bin/sleep", "600", stdin=slave, name="terminal")
        refused(sits.pid, "/dev/pts/", "--leave-terminal")
        job = a.run("/bin/sleep", "600")
        init = procs(a.job_groups(job)[0])[0]
        refused(init, "the job " + job[:8], "already")
        taken = a.tern("adopt", str(init), ok=False)
        check(taken.returncode == REFUSED and taken.stderr.rstrip().endswith(
            f"already; see: tern ps, move it: tern migrate {job[:8]}"), f"{taken}")
        writes = Process(mesh, a, "/bin/sleep", "600", stdout=open(mesh.dir + "/out", "w"),
                         name="writes")
        trial = a.json("adopt", str(writes.pid), "--dry-run")
        check(not trial["obstacles"] and trial["processes"][0]["pid"] == writes.pid, f"{trial}")
        for process in (ends, here, sits, writes):
            check(alive(process.pid) and not event_of(a.cgroup, "frozen"), "it was touched")
            check("adopt-" not in read(f"/proc/{process.pid}/cgroup"), "it was moved")
            process.end()
        check([j["id"] for j in a.ps()] == [job], f"jobs: {a.ps()}")
        nothing_left(a)
        for fd in (reader, master, slave):
            os.close(fd)


def failed_on_the_way():
    """CRIU that fails, at the dump and at the restore: it runs on where it was, as if nothing had
    been"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        program = criu_of(a)
        fake = mesh.dir + "/criu"
        with open(fake, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\n[ -e {mesh.dir}/no-$1 ] && {{ echo "Error (x): planned" >&2; '
                       f'exit 1; }}\nexec {program} "$@"\n')
        os.chmod(fake, 0o755)
        a.stop_daemon()
        a.options = ["--criu", fake]
        a.start()
        process = worker(mesh, a)
        home = read(f"/proc/{process.pid}/cgroup")
        for phase in ("dump", "restore"):
            stop = f"{mesh.dir}/no-{phase}"
            with open(stop, "w", encoding="ascii"):
                pass
            done = a.tern("adopt", str(process.pid), ok=False)
            check(done.returncode == REFUSED and "as before" in done.stderr, f"{phase}: {done}")
            check(read(f"/proc/{process.pid}/cgroup") == home, "it is not where it was")
            process.wait_further()
            wait_for("the job to be forgotten", lambda: not a.ps())
            nothing_left(a)
            os.unlink(stop)
        job = adopt(a, process.pid)["job"]
        check_result(process)
        check(exit_code(a, job) == 7, "not its exit code")


def daemon_killed():
    """kill -9 of the daemon: while the tree is gathered, dumped, restored, committed; afterwards it
    runs as before or as a job, and nothing of its work is missing or done twice"""
    # What is there when the daemon is killed, and the moment's name.
    moments = (("gathered", lambda a, p: glob.glob(a.cgroup + "/adopt-*")),
               ("dumping", lambda a, p: glob.glob(a.cgroup + "/criu-*")),
               ("restoring", lambda a, p: glob.glob(a.cgroup + "/job-*")),
               ("held", lambda a, p: any(event_of(g, "frozen")
                                         for g in glob.glob(a.cgroup + "/job-*"))),
               ("committed", lambda a, p: p.ended()))
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        told = []
        for name, there in moments:
            process = worker(mesh, a, name=name)
            home = read(f"/proc/{process.pid}/cgroup")
            asking = subprocess.Popen([tern_binary(), "adopt", "--state", a.state,
                                       str(process.pid)], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + WAIT
            while not there(a, process) and asking.poll() is None:
                check(time.monotonic() < deadline, f"never {name}")
            a.kill_daemon()
            asking.wait()
            a.start()

            def settled(process=process, home=home):
                """As before, or a job: not both, not neither."""
                jobs = [j for j in a.ps() if j["state"] == "running"]
                before = not process.ended() and read(f"/proc/{process.pid}/cgroup") == home
                check(not (before and jobs and mesh.copies(jobs[0]["id"])), "both are there")
                check(before or jobs, "neither is there")
                return "before" if before else jobs[0]["id"]
            state = wait_for(f"an end of the adoption ({name})", settled)
            process.wait_further()
            check_result(process)
            if state != "before":
                check(exit_code(a, state) == 7, "not its exit code")
            else:
                check(process.process.wait(WAIT) == 7, "not its exit code")
                check(not [j for j in a.ps() if j["state"] == "running"], f"{a.ps()}")
            told.append(f"{name}: {'as before' if state == 'before' else 'a job'}")
            nothing_left(a)
            process.end()
        return ", ".join(told)


TESTS = [adopted_and_moved, migrate_takes_a_pid, a_tree_with_pipes, one_at_a_terminal,
         one_that_forks, whose_it_is,
         refusals, failed_on_the_way, daemon_killed]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], seconds=600))
