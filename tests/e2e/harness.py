"""Real daemons on real network namespaces, for the end-to-end tests beside this file.

A Mesh is a few hosts of one run: a network namespace each, joined by a bridge in a namespace of its
own, so that the machine's own network is never touched. What they share with each other and with
the machine is the file system, the PIDs and the kernel; each has its own state folder and its own
cgroup subtree. Everything that a run makes carries the prefix `te2e<pid of the run>`, and the next
run sweeps what a killed one left.

Rules of these tests: nothing sleeps to wait, every wait polls for what it waits for and has a
deadline; a process is ended by its PID or its cgroup, never by name; what a test claims about copies
of a job is read from the kernel (cgroups, a witness folder), not from what tern says about itself.

Standard library only, Python 3.9.
"""

import contextlib
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

SKIP = 77  # CTest's SKIP_RETURN_CODE
HERE = os.path.dirname(os.path.abspath(__file__))
NETWORK = "10.78.0"  # only inside namespaces of a run
PORT = 7333
WAIT = 60.0  # seconds: the usual deadline; machines that test are slow and busy
LOG_LINES = 25  # of each daemon, when a test failed
PREFIX = os.environ.get("TERN_E2E_PREFIX", "te2e")  # of its own for each PID namespace: see sweep


class Failed(Exception):
    """What a test found wrong; its text is for a person."""


left_out = []  # what tests that passed could not try here


def leave_out(what):
    """A part of a test that this machine cannot run. Where CI checks, that is a failure; elsewhere
    the run's last line says it (scripts/test repeats that)."""
    check(os.environ.get("CI") != "true", f"left out: {what}")
    left_out.append(what)
    say(f"  left out: {what}")


def check(condition, sentence):
    if not condition:
        raise Failed(sentence() if callable(sentence) else sentence)


def say(*words):
    print(*words, flush=True)


def wait_for(what, probe, seconds=WAIT, every=0.05):
    """Polls until probe() gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = probe()
            if value:
                return value
            last = None
        except (Failed, OSError, subprocess.SubprocessError) as error:
            last = error
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds:.0f} s still waiting for {what}" +
                         (f" ({last})" if last else ""))
        time.sleep(every)


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return default


# ---- what this needs of the machine


def tern_binary():
    default = os.path.join(HERE, "..", "..", "build", "dev", "bin", "tern")
    return os.path.abspath(os.environ.get("TERN", default))  # commands run in other folders


def helper_binary(name):
    return os.path.abspath(os.path.join(os.environ.get("TERN_E2E_HELPERS", ""), name))


def python():
    """The machine's own Python: a job's executable must be a file, not a version manager's script."""
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def cgroup_root():
    """The cgroup v2 folder of this process, where the daemons make their subtrees."""
    mount = None
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ")[0] == "cgroup2":
            mount = left.split(" ")[4]
    if mount is None:
        return None
    for line in read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return os.path.normpath(mount + line[3:])
    return None


def why_not_here():
    """Why this machine cannot run these tests; empty where it can."""
    if os.geteuid() != 0:
        return "they need root: namespaces, cgroups, CRIU"
    if not os.access(tern_binary(), os.X_OK):
        return f"there is no tern at {tern_binary()}"
    root = cgroup_root()
    if root is None:
        return "no cgroup v2 hierarchy is mounted"
    if not os.access(root, os.W_OK):
        return f"{root} cannot be written"
    for program in ("ip", "nsenter"):
        if shutil.which(program) is None:
            return f"the program {program} is missing"
    name = f"{PREFIX}{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode != 0:
        return "no network namespace can be made: " + tried.stderr.strip()
    bridge = subprocess.run(["ip", "-n", name, "link", "add", "br0", "type", "bridge"],
                            capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    if bridge.returncode != 0:
        return "no bridge can be made in a network namespace: " + bridge.stderr.strip()
    return ""


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    check(done.returncode == 0, lambda: f"ip {' '.join(arguments)}: {done.stderr.strip()}")


# ---- processes and cgroups


def alive(pid):
    """Runs: there, and no zombie."""
    stat = read(f"/proc/{pid}/stat")
    return bool(stat) and stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def kill_pid(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def procs(group):
    """PIDs in one cgroup; empty where there is none (any more)."""
    return [int(pid) for pid in read(group + "/cgroup.procs").split()]


def subgroups(group):
    with contextlib.suppress(OSError):
        return sorted(entry.path for entry in os.scandir(group) if entry.is_dir())
    return []


def event_of(group, key):
    match = re.search(rf"^{key} (\d+)$", read(group + "/cgroup.events"), re.M)
    return match.group(1) == "1" if match else False


def end_group(group, seconds=WAIT):
    """Kills whatever is in a cgroup subtree, and removes it."""
    if not os.path.isdir(group):
        return
    with contextlib.suppress(OSError), open(group + "/cgroup.kill", "w", encoding="ascii") as file:
        file.write("1")
    deadline = time.monotonic() + seconds
    while event_of(group, "populated") and time.monotonic() < deadline:
        time.sleep(0.02)
    for folder, _, _ in os.walk(group, topdown=False):
        while time.monotonic() < deadline:
            try:
                os.rmdir(folder)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)


def die_with_parent(number=signal.SIGKILL):
    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


@contextlib.contextmanager
def inside(netns):
    """Sockets made within belong to that network namespace. For the calling thread only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as here, open(f"/run/netns/{netns}", "rb") as there:
        check(libc.setns(there.fileno(), 0x40000000) == 0, f"cannot enter {netns}")  # CLONE_NEWNET
        try:
            yield
        finally:
            check(libc.setns(here.fileno(), 0x40000000) == 0, "cannot come back")


# ---- one host


class Host:
    def __init__(self, mesh, name, number):
        self.mesh = mesh
        self.name = name
        self.netns = f"{mesh.prefix}-{name}"
        self.port = f"p{number}"  # its end at the bridge
        self.address = f"{NETWORK}.{number + 1}"
        self.state = os.path.join(mesh.dir, name)
        self.log = os.path.join(mesh.dir, name + ".log")
        self.cgroup = f"{mesh.cgroups}/tern-{mesh.prefix}-{name}"
        self.options = []  # further ones of `tern daemon`
        # For the daemon, besides what is there; this machine's own lid is nobody's affair here.
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus"}
        self.log_level = "debug"
        self.setup = ""  # shell commands in a mount namespace of the daemon's own, before it starts
        self.daemon = None
        self.id = ""

    # -- the daemon

    def start(self):
        command = ["nsenter", f"--net=/run/netns/{self.netns}"]
        if self.setup:
            command += ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                        self.setup + '\nexec "$@"', "sh"]
        command += [tern_binary(), "daemon", "--state", self.state, "--name", self.name,
                    "--listen", f"{self.address}:{PORT}", "--no-discovery",
                    "--cgroup", f"{self.mesh.prefix}-{self.name}", "--load-source", "cgroup",
                    "--load-window", str(self.mesh.load_window), "--cpus", "2",
                    "--log-level", self.log_level, "--log-file", self.log, *self.options]
        if self.mesh.root_jobs:
            command.append("--allow-root-jobs")
        with open(self.log + ".stderr", "ab") as errors:
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors,
                                           stderr=errors, preexec_fn=die_with_parent,
                                           env={**os.environ, **self.env},
                                           start_new_session=True)
        wait_for(f"the daemon of {self.name} to answer",
                 lambda: self.daemon.poll() is not None or self.answers())
        check(self.runs(), lambda: f"the daemon of {self.name} ended with {self.daemon.returncode}")
        return self

    def answers(self):
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
            client.settimeout(1)
            try:
                client.connect(self.state + "/control.sock")
                client.sendall(b'{"v":1,"command":"ping"}\n')
                return client.recv(4096) != b""
            except OSError:
                return None

    def kill_daemon(self):
        kill_pid(self.daemon.pid)
        self.daemon.wait()

    def stop_daemon(self, seconds=WAIT):
        self.daemon.terminate()
        try:
            return self.daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_daemon()
            raise Failed(f"the daemon of {self.name} did not stop in {seconds} s")

    def runs(self):
        return self.daemon is not None and self.daemon.poll() is None

    def restart(self):
        if self.runs():
            self.stop_daemon()
        return self.start()

    # -- commands

    def tern(self, *arguments, stdin=None, seconds=WAIT, ok=True):
        """Runs tern as on this host. With ok, a failure is the test's."""
        done = subprocess.run([tern_binary(), arguments[0], "--state", self.state, *arguments[1:]],
                              input=stdin, capture_output=True, text=True, timeout=seconds)
        if ok:
            check(done.returncode == 0, lambda: f"on {self.name}: tern {' '.join(arguments)}: exit "
                  f"{done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done

    def json(self, *arguments, **options):
        return json.loads(self.tern(*arguments, "--json", **options).stdout)

    def status(self):
        return self.json("status")

    def ps(self):
        return self.json("ps")["jobs"]

    def job(self, job):
        """The jobs of that id, as this node sees them: one, unless something is wrong."""
        return [entry for entry in self.ps() if entry["id"] == job]

    def run(self, *command, name=None, folder=None):
        named = ["--name", name] if name else []
        done = subprocess.run([tern_binary(), "run", "--state", self.state, "--detach", "--json",
                               "--on", "here", *named, "--", *command], capture_output=True,
                              text=True, timeout=WAIT, cwd=folder or "/")
        check(done.returncode == 0, lambda: f"tern run {command}: {done.stderr.strip()}")
        return json.loads(done.stdout)["job"]

    def logs(self, job):
        return self.tern("logs", job).stdout

    def migrate(self, job, to, ok=True, seconds=120):
        done = self.tern("migrate", job, to, "--json", ok=ok, seconds=seconds)
        return json.loads(done.stdout) if done.returncode == 0 else done

    def zombies(self):
        """Children of the daemon that have ended and that it has not waited for."""
        stats = [read(path).rpartition(")")[2].split() for path in glob.glob("/proc/[0-9]*/stat")]
        return sum(stat[:2] == ["Z", str(self.daemon.pid)] for stat in stats)

    def events(self):
        return [json.loads(line) for line in self.tern("events", "--json").stdout.splitlines()]

    # -- what is really there

    def job_groups(self, job):
        return [g for g in subgroups(self.cgroup) if os.path.basename(g).startswith(f"job-{job}-e")]

    def criu_pids(self, job):
        return [pid for group in subgroups(self.cgroup)
                if os.path.basename(group).startswith(f"criu-{job}-") for pid in procs(group)]

    def keeper_pid(self, job):
        """The keeper of one job: the process in `keepers` that has the job's folder in its command
        line, or stands in it."""
        for pid in procs(self.cgroup + "/keepers"):
            folder = f"{self.state}/jobs/{job}"
            with contextlib.suppress(OSError):
                if job in read(f"/proc/{pid}/cmdline") or os.readlink(f"/proc/{pid}/cwd") == folder:
                    return pid
        return None

    def job_file(self, job, name):
        return f"{self.state}/jobs/{job}/{name}"

    def log_tail(self, lines=LOG_LINES):
        text = read(self.log) + read(self.log + ".stderr")
        return "\n".join("    " + line for line in text.splitlines()[-lines:])

    # -- the network

    def cut(self):
        """Nothing arrives any more, either way, and nobody is told: as a cable pulled elsewhere."""
        ip("-n", self.mesh.hub, "link", "set", self.port, "nomaster")

    def heal(self):
        ip("-n", self.mesh.hub, "link", "set", self.port, "master", "br0")


def outcomes_in(events, job):
    """(epoch, commit or abort) of each handover of the job that these events tell of."""
    return [(e["handover"]["epoch"], e["handover"]["outcome"]) for e in events
            if e.get("job") == job and "handover" in e and not e["text"].startswith("refused")]


class Watch(threading.Thread):
    """Follows `events` of a daemon by its control socket and keeps (monotonic time, event)."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host = host
        self.seen = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(host.state + "/control.sock")
        self.socket.sendall(b'{"v":1,"command":"events","follow":true}\n')
        self.start()

    def run(self):
        rest = b""
        with contextlib.suppress(OSError):
            while True:
                data = self.socket.recv(65536)
                if not data:
                    return
                rest += data
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    event = json.loads(line).get("event")
                    if event:
                        self.seen.append((time.monotonic(), event))

    def phases(self, job):
        return [e["text"] for _, e in list(self.seen) if e["kind"] == "handover" and e.get("job") == job]

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# ---- a mesh


class Mesh:
    """with Mesh(["a", "b", "c"]) as mesh: daemons up, joined, each seeing all others."""

    def __init__(self, names, load_window=5, root_jobs=True, before_start=None, strangers=()):
        """`strangers` have a network too; what becomes of them is the test's affair."""
        self.prefix = f"{PREFIX}{os.getpid()}"
        self.hub = f"{self.prefix}-hub"
        self.load_window = load_window
        self.root_jobs = root_jobs
        self.before_start = before_start
        self.dir = tempfile.mkdtemp(prefix=f"{self.prefix}-", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.cgroups = cgroup_root()
        everybody = [Host(self, name, number) for number, name in enumerate([*names, *strangers])]
        self.hosts, self.strangers = everybody[:len(names)], everybody[len(names):]
        self.failed = False

    def __enter__(self):
        try:
            ip("netns", "add", self.hub)
            ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
            ip("-n", self.hub, "link", "set", "br0", "up")
            for host in self.hosts + self.strangers:
                self.add_host(host)
            if self.before_start:
                self.before_start(self)
            for host in self.hosts:
                host.start()
            self.join_all()
        except BaseException:
            self.failed = True
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __getitem__(self, name):
        return next(host for host in self.hosts + self.strangers if host.name == name)

    def add_host(self, host):
        ip("netns", "add", host.netns)
        ip("link", "add", "eth0", "netns", host.netns, "type", "veth", "peer", "name", host.port,
           "netns", self.hub)
        ip("-n", self.hub, "link", "set", host.port, "master", "br0", "up")
        ip("-n", host.netns, "addr", "add", host.address + "/24", "dev", "eth0")
        ip("-n", host.netns, "link", "set", "eth0", "up")
        ip("-n", host.netns, "link", "set", "lo", "up")
        os.mkdir(host.state, 0o700)

    def slow_down(self, host, megabits):
        """Bounds what a host sends, so that a stream takes its time. False: no such queue here."""
        done = subprocess.run(["ip", "netns", "exec", host.netns, "tc", "qdisc", "replace", "dev",
                               "eth0", "root", "tbf", "rate", f"{megabits}mbit", "burst", "128kb",
                               "latency", "100ms"], capture_output=True)
        return done.returncode == 0

    def join_all(self):
        first = self.hosts[0]
        first.tern("up", "--name", first.name)
        for host in self.hosts[1:]:
            ticket = first.json("invite")["ticket"]
            host.tern("join", "--trust", "-", stdin=ticket + "\n")
        for host in self.hosts:
            host.id = host.status()["self"]
        self.wait_alive()

    def wait_alive(self, hosts=None):
        names = {host.name for host in hosts or self.hosts}

        def all_alive():
            for host in hosts or self.hosts:
                there = {n["name"] for n in host.status()["nodes"] if n["state"] == "alive"}
                check(names <= there, lambda: f"{host.name} sees only {sorted(there)} alive")
            return True
        wait_for("all nodes to see each other alive", all_alive)

    def wait_no_seats(self, seconds=WAIT):
        """Until every triad has dissolved."""
        def free():
            for host in self.hosts:
                for node in host.status()["nodes"]:
                    check(node["seat"] is None or node["state"] != "alive",
                          lambda: f"{host.name} says that {node['name']} has a seat: {node['seat']}")
            return True
        wait_for("all seats to be free", free, seconds)

    # -- jobs, over all nodes, from the kernel's point of view

    def copies(self, job):
        """[(host, cgroup, pids, frozen)] of everything that exists of a job."""
        found = []
        for host in self.hosts:
            for group in host.job_groups(job):
                pids = procs(group)
                if pids:
                    found.append((host, group, pids, event_of(group, "frozen")))
        return found

    def only_copy(self, job):
        """The host of the only copy; it runs (not frozen, not stopped)."""
        there = self.copies(job)
        check(len(there) == 1, lambda: f"{len(there)} copies: " + ", ".join(
            f"{os.path.basename(g)} on {h.name}{' (frozen)' if f else ''}" for h, g, _, f in there))
        host, group, pids, frozen = there[0]
        check(not frozen, f"the only copy, on {host.name}, is frozen")
        stopped = [p for p in pids
                   if read(f"/proc/{p}/stat").rsplit(")", 1)[-1].split()[:1] in (["T"], ["t"])]
        check(not stopped, f"the only copy, on {host.name}, is stopped")
        return host

    def runs_on(self, host, job):
        """Whether the copy on that host runs, whatever there is elsewhere."""
        groups = host.job_groups(job)
        return bool(groups) and all(procs(g) and not event_of(g, "frozen") for g in groups)

    def end_job(self, job):
        """Kills a job by command, and waits until nothing of it is left anywhere."""
        live = [host for host in self.hosts if host.runs()]
        live[0].tern("kill", job, "KILL", ok=False)
        wait_for("every copy of the job to go", lambda: not self.copies(job))

    # -- the end

    def __exit__(self, kind, error, trace):
        with Uninterrupted():
            self.tear_down(kind)

    def tear_down(self, kind):
        if kind is not None and kind not in (KeyboardInterrupt, SystemExit):
            for host in self.hosts + self.strangers:
                say(f"  the last lines of {host.name}'s log:\n{host.log_tail()}")
        for host in self.hosts + self.strangers:
            if host.runs():
                host.kill_daemon()
        for host in self.hosts + self.strangers:
            end_group(host.cgroup)
        if os.environ.get("TERN_E2E_KEEP") and kind is not None:
            kept = self.dir.replace(PREFIX, f"kept-{PREFIX}")  # by later sweeps too
            os.rename(self.dir, kept)
            say(f"  kept: {kept}")
        sweep(self.prefix)


class Uninterrupted:
    """Cleaning up is not interrupted by a second Ctrl-C."""

    def __enter__(self):
        self.old = [(n, signal.signal(n, signal.SIG_IGN))
                    for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]

    def __exit__(self, *_):
        for number, handler in self.old:
            signal.signal(number, handler)


def sweep(prefix):
    """Removes what a run of that prefix left: cgroups with their processes, namespaces, folders."""
    root = cgroup_root()
    if root:
        for group in subgroups(root):
            if os.path.basename(group).startswith(f"tern-{prefix}-"):
                end_group(group)
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        if name.startswith(prefix + "-"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
    for folder in ("/tmp", "/dev/shm", "/run"):
        for name in os.listdir(folder):
            if name.startswith((prefix + "-", f"tern-{prefix}-")):
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def sweep_dead_runs():
    names = [os.path.basename(g) for g in subgroups(cgroup_root() or "/nonexistent")]
    for folder in ("/run/netns", "/tmp", "/dev/shm"):
        with contextlib.suppress(OSError):
            names += os.listdir(folder)
    for pid in {m.group(1) for m in (re.match(rf"(?:tern-)?{PREFIX}(\d+)-", n) for n in names) if m}:
        if not os.path.exists(f"/proc/{pid}"):
            sweep(PREFIX + pid)


# ---- jobs to move

# Counts on standard output. Its witness is a folder: each number is a folder made in it, which can
# be made only once, so a second copy that ran anywhere is caught whatever tern says. Its ballast,
# random so that nothing makes it small, is hashed over and over.
COUNTER = r"""
import os, sys, time, zlib
witness, megabytes, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
ballast = bytearray(os.urandom(1 << 20) * megabytes) if megabytes else bytearray()
for i in range(0, len(ballast), 4096):
    ballast[i:i + 8] = i.to_bytes(8, "little")
expected, at, crc = zlib.crc32(ballast), 0, 0
n = 0
while True:
    n += 1
    try:
        os.mkdir(f"{witness}/{n}")
    except FileExistsError:
        os.makedirs(f"{witness}/twice-{n}", exist_ok=True)
    print(n, flush=True)
    if ballast:
        crc = zlib.crc32(ballast[at:at + (1 << 20)], crc)
        at += 1 << 20
        if at >= len(ballast):
            if crc != expected:
                print("memory damaged", flush=True)
                os._exit(99)
            at, crc = 0, 0
    time.sleep(pause)
"""


class Counting:
    """A job under way that prints 1, 2, 3, ... on standard output, and nothing else while all is
    well."""

    def __init__(self, mesh, host, *command, name=None):
        self.mesh = mesh
        self.home = host
        self.job = host.run(*command, name=name)
        self.wait_further(3)

    def last(self):
        """The highest number that is known to have been counted."""
        lines = self.lines()
        return int(lines[-1]) if lines else 0

    def lines(self):
        """What has arrived at home, whole lines."""
        text = self.home.logs(self.job)
        lines = text.splitlines()
        if lines and not text.endswith("\n"):
            lines.pop()
        bad = [line for line in lines if not line.isdigit()]
        check(not bad, lambda: f"the job says: {bad[:3]}")
        return lines

    def wait_further(self, by=5, seconds=WAIT):
        """Until it has counted on: it runs, somewhere."""
        goal = self.last() + by
        return wait_for(f"the job to count up to {goal}", lambda: self.last() >= goal, seconds)

    def check_output(self):
        """At home, everything up to a number that was counted before now arrives, and nothing is
        missing or repeated. Returns how many lines."""
        goal = self.last()

        def arrived():
            lines = self.lines()
            return lines if lines and int(lines[-1]) >= goal else None
        return check_continuous(wait_for(f"output up to {goal} at home", arrived))

    def end(self):
        self.mesh.end_job(self.job)


class Counter(Counting):
    """The same with a witness (see COUNTER), which is there at once, whatever tern does."""

    def __init__(self, mesh, host, megabytes=0, pause=0.02, name=None):
        self.witness = tempfile.mkdtemp(prefix="witness-", dir=mesh.dir)
        super().__init__(mesh, host, python(), "-c", COUNTER, self.witness, str(megabytes),
                         str(pause), name=name)

    def last(self):
        return max((int(name) for name in os.listdir(self.witness) if name.isdigit()), default=0)

    def check_output(self):
        count = super().check_output()
        twice = [name for name in os.listdir(self.witness) if not name.isdigit()]
        check(not twice, lambda: f"two copies ran: {len(twice)} numbers were counted twice, such as "
              f"{sorted(twice)[:3]}")
        return count

    def end(self):
        super().end()
        shutil.rmtree(self.witness, ignore_errors=True)


def check_continuous(lines):
    missing, repeated = continuity(lines)
    check(missing == 0 and repeated == 0, lambda: f"missing {missing}, repeated {repeated} of "
          f"{len(lines)} lines; around it: {around(lines)}")
    check([int(line) for line in lines] == list(range(1, len(lines) + 1)),
          lambda: f"out of order around {around(lines)}")
    return len(lines)


def continuity(lines):
    """(missing, repeated) of lines that should be 1, 2, 3, ..."""
    numbers = [int(line) for line in lines]
    return max(numbers, default=0) - len(set(numbers)), len(numbers) - len(set(numbers))


def around(lines):
    for index, line in enumerate(lines):
        if int(line) != index + 1:
            return lines[max(0, index - 3):index + 3]
    return []


def criu_of(host):
    """The program that its daemon uses."""
    found = re.search(r"(/\S*criu\S*)", host.tern("doctor", ok=False).stdout)
    program = found.group(1) if found else "/opt/tern/criu/criu"
    check(os.path.exists(program), lambda: f"no CRIU at {program}")
    return program


# ---- running tests


def run_tests(tests, argv, seconds):
    """Runs the tests whose name contains an argument (all without); exit code for CTest."""
    why = why_not_here()
    if why:
        say(f"end-to-end tests cannot run here: {why}")
        return 1 if os.environ.get("CI") == "true" else SKIP
    sweep_dead_runs()
    if os.getsid(0) == 0:  # its leader is outside of this PID namespace: nothing of it can be adopted
        os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def out_of_time(*_):
        raise Failed(f"the whole run took more than {seconds} s")
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(seconds)
    failures = 0
    for test in tests:
        if argv and not any(word in test.__name__ for word in argv):
            continue
        began = time.monotonic()
        say(f"-- {test.__name__}: {(test.__doc__ or '').strip().splitlines()[0] if test.__doc__ else ''}")
        try:
            note = test()
            say(f"ok {test.__name__} ({time.monotonic() - began:.1f} s){': ' + note if note else ''}")
        except Failed as error:
            failures += 1
            say(f"FAILED {test.__name__} ({time.monotonic() - began:.1f} s): {error}")
        except Exception:  # pylint: disable=broad-except
            failures += 1
            say(f"FAILED {test.__name__} ({time.monotonic() - began:.1f} s):\n{traceback.format_exc()}")
    if left_out:
        say("left out: " + "; ".join(left_out))
    return 1 if failures else 0
