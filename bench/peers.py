"""What the benchmarks in Python share: where the build is, an sshd of our own, medians, tables.

Standard library only, Python 3.9.
"""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("TERN_BUILD_DIR", os.path.join(HERE, "..", "build", "release"))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "e2e"))
os.environ.setdefault("TERN", os.path.join(BUILD, "bin", "tern"))


def program(name):
    path = os.path.join(BUILD, "bench", name)
    if not os.access(path, os.X_OK):
        sys.exit(f"there is no {path}: build it, or name the build with TERN_BUILD_DIR")
    return path


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{min(values):.2f}-{max(values):.2f}"


def machine():
    with open("/proc/loadavg", encoding="ascii") as file:
        load = file.read().split()[0]
    return f"{len(os.sched_getaffinity(0))} CPUs, load average {load} at the start"


class Sshd:
    """with Sshd() as sshd: an sshd on a port of its own with keys of its own, for this run only.

    `sshd.missing` says why there is none; then neither scp() nor rsync() must be called.
    """

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tern-bench-ssh-")
        self.missing = ""
        self.no_rsync = ""
        self.process = None
        self.port = 0

    def __enter__(self):
        server = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.no_rsync = "" if shutil.which("rsync") else "rsync is not installed"
        for needed, path in (("sshd", server), ("scp", shutil.which("scp")),
                             ("ssh-keygen", shutil.which("ssh-keygen"))):
            if path is None:
                self.missing = f"{needed} is not installed"
                return self
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            f"{self.dir}/{key}"], check=True)
        shutil.copy(f"{self.dir}/user.pub", f"{self.dir}/authorized")
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with open(f"{self.dir}/config", "w", encoding="ascii") as file:
            file.write(f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.dir}/host\n"
                       f"AuthorizedKeysFile {self.dir}/authorized\nPidFile none\nUsePAM no\n"
                       "StrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n")
        os.makedirs("/run/sshd", exist_ok=True)  # where sshd locks itself in
        self.process = subprocess.Popen([server, "-D", "-f", f"{self.dir}/config", "-E",
                                         f"{self.dir}/log"], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            time.sleep(0.05)
        self.missing = "our sshd does not start: " + open(f"{self.dir}/log").read().strip()
        return self

    def scp(self, source, target):
        """Copies a file, or a folder, to the same machine; returns the seconds it took."""
        began = time.monotonic()
        subprocess.run(["scp", "-q", "-r", "-P", str(self.port), *self.options(), source,
                        f"root@127.0.0.1:{target}"], check=True)
        return time.monotonic() - began

    def rsync(self, source, target):
        """The same with rsync over ssh; `no_rsync` says why it must not be called."""
        began = time.monotonic()
        ssh = " ".join(["ssh", "-p", str(self.port), *self.options()])
        subprocess.run(["rsync", "-a", "-e", ssh, source, f"root@127.0.0.1:{target}"], check=True)
        return time.monotonic() - began

    def options(self):
        return ["-i", f"{self.dir}/user", "-o", "StrictHostKeyChecking=no", "-o",
                "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
