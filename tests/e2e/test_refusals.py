#!/usr/bin/env python3
"""What cannot move is refused before anything freezes: exit code 5, a sentence, the job unharmed.

    tests/e2e/test_refusals.py [WORD...]     only tests with a WORD in their name

TERN is the binary. Issue 4, "Shown by". Others are in test_moves.py (files, ports, CRIU), in
test_connections.py (TCP) and test_users.py.
"""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys

from harness import (Counting, Mesh, check, leave_out, procs, python, read, run_tests, say,
                     wait_for)
from test_users import UsersJob, as_user

# Has what the code before it made, and counts.
COUNTS = """
import time
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""
LIBC = "import ctypes, fcntl, os, socket, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
IO_URING = "ring = libc.syscall(425, 4, ctypes.create_string_buffer(120))\n"
FANOTIFY = "watch = libc.fanotify_init(0, 0)\n"
SHARED_MEMORY = """
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, 65536, 0o1600)
assert libc.shmat(segment, None, 0) not in (None, ctypes.c_void_p(-1).value)
"""
SEMAPHORES = "assert libc.semget(0, 1, 0o1600) >= 0\n"
OUTSIDE = "peer = socket.socket(socket.AF_UNIX)\npeer.connect(sys.argv[1])\n"
LISTENS = "own = socket.socket(socket.AF_UNIX)\nown.bind(sys.argv[1])\nown.listen()\n"
LEASE = "file = open(sys.argv[1])\nfcntl.fcntl(file, 1024, fcntl.F_RDLCK)\n"  # F_SETLEASE
# Traces a process until it is killed itself.
TRACER = """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0  # PTRACE_SEIZE
print("traced", flush=True)
time.sleep(1000)
"""
LIBRARY = "import ctypes, sys\nlibrary = ctypes.CDLL(sys.argv[1])\n"


def holding(mesh, code, *arguments):
    return Counting(mesh, mesh["a"], python(), "-c", LIBC + code + COUNTS, *arguments)


def refused(mesh, job, to, *words):
    """Says so, the dry run too, and the job was not frozen and goes on. Returns the sentence."""
    host = mesh["a"]

    def freezes():
        return len([e for e in host.events() if e.get("job") == job.job
                    and e["kind"] == "handover" and e["text"].startswith("stream")])
    before = freezes()
    for how in (["--dry-run"], []):
        done = host.tern("migrate", job.job, to, *how, ok=False, seconds=120)
        said = (done.stdout + done.stderr).strip()
        check(done.returncode == 5, lambda: f"exit {done.returncode}, not 5: {said}")
        for word in words:
            check(word in said, lambda: f"{word!r} is not said: {said}")
    check(freezes() == before, "the job was frozen")
    job.wait_further()
    check(mesh.only_copy(job.job) is host, "the job is not where it was")
    job.check_output()
    return said.splitlines()[-1]


def made_by_the_job():
    """io_uring, fanotify, System V memory and semaphores, eventfd as a semaphore, a pipe of packets, a
    lease, a unix socket to somebody else, a tracer: each is said, and goes with its cause where it can"""
    with Mesh(["a", "b", "c"]) as mesh:
        with open(os.path.join(mesh.dir, "leased"), "w", encoding="ascii") as file:
            file.write("leased")
        with socket.socket(socket.AF_UNIX) as outside:
            outside.bind(os.path.join(mesh.dir, "outside.sock"))
            outside.listen()
            cases = [("io_uring", IO_URING, "io_uring"), ("fanotify", FANOTIFY, "fanotify"),
                     ("System V memory", SHARED_MEMORY, "System V shared memory"),
                     ("System V semaphores", SEMAPHORES, "System V semaphores"),
                     ("a semaphore of eventfd", "e = os.eventfd(1, os.EFD_SEMAPHORE)\n",
                      "EFD_SEMAPHORE"),
                     ("a pipe in packet mode", "ends = os.pipe2(os.O_DIRECT)\n", "packet mode"),
                     ("a unix socket on a path", LISTENS, "the unix socket",
                      os.path.join(mesh.dir, "own.sock")),
                     ("a lease", LEASE, "lease", os.path.join(mesh.dir, "leased")),
                     ("a unix socket", OUTSIDE, "outside the job",
                      os.path.join(mesh.dir, "outside.sock"))]
            for name, code, word, *arguments in cases:
                if name == "io_uring" and not has_io_uring():
                    say("  io_uring: this kernel forbids it to everybody")
                    continue
                job = holding(mesh, code, *arguments)
                with contextlib.ExitStack() as stack:
                    if name == "a unix socket":
                        stack.enter_context(outside.accept()[0])
                    who = "it has" if "System V" in name else "python3"  # nobody's in particular
                    say(f"  {name}: {refused(mesh, job, 'b', who, word)}")
                job.end()
        job = holding(mesh, "")
        main = max(procs(mesh["a"].job_groups(job.job)[0]))
        tracer = subprocess.Popen([python(), "-c", TRACER, str(main)], stdout=subprocess.PIPE)
        try:
            check(tracer.stdout.readline() == b"traced\n", "it cannot be traced")
            say("  a tracer: " + refused(mesh, job, "b", "python3", "traced"))
        finally:
            tracer.kill()
            tracer.wait()
            tracer.stdout.close()
        mesh["a"].migrate(job.job, "b")
        job.wait_further()
        job.end()


def has_io_uring():
    done = subprocess.run([python(), "-c", LIBC + IO_URING + "sys.exit(ring < 0)"], check=False)
    return done.returncode == 0


def library():
    """One that nothing of tern's needs."""
    done = subprocess.run([python(), "-c", "import _ctypes\nprint(open('/proc/self/maps').read())"],
                          capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if "/libffi.so" in line:
            return line.split()[-1]
    return None


def package_of(path):
    """Name and version, as dpkg says; none where it does not know."""
    for name in (path, path.removeprefix("/usr")):
        done = subprocess.run(["sh", "-c", 'dpkg-query -S "$1" | cut -d: -f1-2', "sh", name],
                              capture_output=True, text=True, check=False)
        package = done.stdout.strip().removesuffix(": " + name).split(": ")[0]
        if package:
            shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package],
                                   capture_output=True, text=True, check=True)
            return package, shown.stdout
    return None


def there():
    """What the other machine has not: the same library, memory, room on its disk, a policy."""
    lib = library()
    known = package_of(lib) if lib else None  # else the content's hash is named
    words = ["differs", "same version"]
    if known:
        name = known[0].split(":")[0]
        words += [f"{name} {known[1]}+other here, the job's is of {name} {known[1]}"]

    def prepare(mesh):
        files = os.path.join(mesh.dir, "files")
        os.mkdir(files)
        if lib:
            shutil.copy(lib, files + "/library")
            with open(files + "/library", "r+b") as file:
                file.seek(-1, os.SEEK_END)
                last = file.read(1)
                file.seek(-1, os.SEEK_END)
                file.write(bytes([last[0] ^ 1]))  # of the same size
            mesh["b"].setup = f"mount --bind {files}/library {lib}"
            if known:
                package, version = known
                with open(files + "/status", "w", encoding="utf-8") as file:
                    for part in read("/var/lib/dpkg/status").split("\n\n"):
                        if f"Package: {package.split(':')[0]}\n" in part + "\n":
                            part = part.replace(f"Version: {version}", f"Version: {version}+other")
                        file.write(part + "\n\n")
                mesh["b"].setup += f"; mount --bind {files}/status /var/lib/dpkg/status"
        # Little memory on c: 16 MiB more than stay free.
        with open(files + "/meminfo", "w", encoding="ascii") as file:
            for line in read("/proc/meminfo").splitlines():
                name = line.split(":")[0]
                file.write(f"{name}: {81920 if name in ('MemFree', 'MemAvailable') else 4000000} kB\n")
        mesh["c"].setup = f"mount --bind {files}/meminfo /proc/meminfo"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0700", "tmpfs",
                        mesh["d"].state], check=True)

    with Mesh(["a", "b", "c", "d"], before_start=prepare) as mesh:
        try:
            if lib:
                job = Counting(mesh, mesh["a"], python(), "-c", LIBRARY + COUNTS, lib)
                say("  a library: " + refused(mesh, job, "b", lib, *words))
                job.end()
            else:
                leave_out("another version of a library: this Python maps no libffi")
            job = holding(mesh, "ballast = b'x' * (20 << 20)\n")
            say("  memory: " + refused(mesh, job, "c", "80 MiB are free", "64 MiB stay free"))
            hides = holding(mesh, "store = os.memfd_create('')\n"
                            "for _ in range(40): os.write(store, os.urandom(1 << 20))\n")
            done = mesh["a"].migrate(hides.job, "c", ok=False)
            words = "80 MiB are free here, the job needs more than 16 MiB and 64 MiB stay free"
            check(not isinstance(done, dict) and words in done.stderr, lambda: f"{done}")
            hides.wait_further()
            hides.end()
            say(f"  memory as it arrives: {done.stderr.strip().splitlines()[-1]}")
            with open(mesh["d"].state + "/filler", "wb") as file:
                free = os.statvfs(mesh["d"].state)
                file.write(bytes(free.f_bavail * free.f_bsize - (2 << 20)))
            say("  a disk: " + refused(mesh, job, "d", "disk"))
            os.unlink(mesh["d"].state + "/filler")
            mesh["a"].migrate(job.job, "d")
            job.wait_further()
            mesh["a"].migrate(job.job, "home")
            job.wait_further()
            mesh["d"].tern("drain")
            say("  drained: " + refused(mesh, job, "d", "of others: it is being drained"))
            job.end()
        finally:
            mesh["d"].kill_daemon()
            subprocess.run(["umount", "-l", mesh["d"].state], check=True)


LOCKS = """
import fcntl, struct
files = [open(path) for path in sys.argv[1:4]]
fcntl.flock(files[0], fcntl.LOCK_EX)
fcntl.lockf(files[1], fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 5)
fcntl.fcntl(files[2], 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))  # F_OFD_SETLK
"""


def locks():
    """flock, fcntl and open-file locks move along with their job, and are parked with it; nobody
    may hold one against them where it goes"""
    names = ("flock", "fcntl", "ofd")

    def prepare(mesh):
        # Every machine has its own files.
        for host in mesh.hosts:
            os.mkdir(os.path.join(mesh.dir, "files-" + host.name))
            for name in names:
                with open(os.path.join(mesh.dir, "files-" + host.name, name), "w",
                          encoding="ascii") as file:
                    file.write("locked")
        os.mkdir(os.path.join(mesh.dir, "files"))
        for host in mesh.hosts:
            host.setup = f"mount --bind {mesh.dir}/files-{host.name} {mesh.dir}/files"

    with Mesh(["a", "b"], before_start=prepare) as mesh:
        host = mesh["a"]
        job = Counting(mesh, host, python(), "-c", LIBC + LOCKS + COUNTS,
                       *(os.path.join(mesh.dir, "files", name) for name in names))

        def held(at):
            pids = procs(at.job_groups(job.job)[0])
            kinds = set()
            for pid in pids:
                with contextlib.suppress(OSError):
                    for number in os.listdir(f"/proc/{pid}/fdinfo"):
                        for line in read(f"/proc/{pid}/fdinfo/{number}").splitlines():
                            if line.startswith("lock:"):
                                kinds.add(tuple(line.split()[2:5]) + tuple(line.split()[-2:]))
            return kinds
        before = held(host)
        check(len(before) == 3, lambda: f"these locks are held: {before}")
        for to in ("b", "home"):
            host.migrate(job.job, to)
            job.wait_further()
            now = held(mesh.only_copy(job.job))
            check(now == before, lambda: f"held after the move: {now}, not {before}")
        host.tern("park", job.job, seconds=120)
        host.tern("wake", job.job, seconds=120)
        job.wait_further()
        check(held(host) == before, lambda: f"held after the park: {held(host)}")
        for name, lock in (("flock", fcntl.flock), ("fcntl", fcntl.lockf), ("ofd", fcntl.lockf)):
            with open(os.path.join(mesh.dir, "files-b", name), "r+", encoding="ascii") as file:
                lock(file, fcntl.LOCK_EX)
                done = host.migrate(job.job, "b", ok=False)
            check(not isinstance(done, dict), f"moved where {name} is locked")
            check(name in done.stderr and "locked here by another program" in done.stderr,
                  lambda: f"exit {done.returncode}: {done.stderr}")
            job.wait_further()
            check(mesh.only_copy(job.job) is host, "the job is not where it was")
            check(held(host) == before, lambda: f"held after a refusal: {held(host)}")
            say(f"  {name}: {done.stderr.strip().splitlines()[-1]}")
        host.migrate(job.job, "b")
        job.wait_further()
        job.check_output()
        job.end()


WATCHES = """
import select
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, sys.argv[1].encode(), 0x100) >= 0  # IN_CREATE
print("up", flush=True)
while True:
    if select.select([watch], [], [], 0.05)[0]:
        print("seen", os.read(watch, 4096)[16:].rstrip(bytes(1)).decode(), flush=True)
"""


def watches():
    """what a job watches (inotify) it watches where it goes, if it may look there"""
    def prepare(mesh):
        for host in mesh.hosts:
            host.options = ["--policy-uids", "65534"]
        mesh["c"].setup = f"mkdir {mesh.dir}/shut && chmod 700 {mesh.dir}/shut && mkdir " \
                          f"{mesh.dir}/open && mount --bind {mesh.dir}/shut {mesh.dir}/open"

    with Mesh(["a", "b", "c"], before_start=prepare) as mesh:
        host, folder = mesh["a"], os.path.join(mesh.dir, "open")
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        for uid in (0, 65534):
            run = ("run", "--on", "here", "--detach", "--json", "--", python(), "-c",
                   LIBC + WATCHES, folder)
            done = host.tern(*run) if uid == 0 else as_user(host, *run)
            check(done.returncode == 0, lambda: done.stderr)
            job = json.loads(done.stdout)["job"]
            wait_for("the job to watch", lambda: "up" in host.logs(job))
            host.migrate(job, "b")
            os.mkdir(f"{folder}/new-{uid}")
            wait_for("the job to see it", lambda: f"seen new-{uid}" in host.logs(job))
            if uid != 0:
                host.migrate(job, "home")
                done = host.migrate(job, "c", ok=False)
                check(not isinstance(done, dict), "moved where it may not look")
                check(folder in done.stderr and "job's user" in done.stderr,
                      lambda: f"exit {done.returncode}: {done.stderr}")
                check(mesh.only_copy(job) is host, "the job is not where it was")
                say(f"  {done.stderr.strip().splitlines()[-1]}")
            mesh.end_job(job)


def policies():
    """jobs of root, and of a user whom the node does not know"""
    with Mesh(["a", "b"], root_jobs=False) as mesh:
        job = holding(mesh, "")
        say("  root: " + refused(mesh, job, "b", "root"))
        job.end()
        job = UsersJob(mesh, mesh["a"], "/bin/sh", "-c",
                       'n=0; while :; do echo $((n += 1)); sleep 0.02; done')
        done = as_user(mesh["a"], "migrate", job.job, "b")
        check(done.returncode == 5 and "user 65534" in done.stderr,
              lambda: f"exit {done.returncode}: {done.stderr}")
        say("  a user: " + refused(mesh, job, "b", "user 65534", "policy-uids"))
        job.end()


if __name__ == "__main__":
    sys.exit(run_tests([made_by_the_job, there, locks, watches, policies], sys.argv[1:], seconds=560))
