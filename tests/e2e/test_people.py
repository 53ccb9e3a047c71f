#!/usr/bin/env python3
"""One machine, its system daemon, and people on it: whose daemon a command means, who may change what,
and what is said where none runs. In a mount namespace of its own, where /run and /var/lib are empty.

    tests/e2e/test_people.py [WORD...]     only tests with a WORD in their name
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import (PREFIX, WAIT, alive, cgroup_root, check, end_group, run_tests,
                     tern_binary, wait_for)

NOBODY = 65534
NO_DAEMON, REFUSED = 3, 5


class Machine:
    """Namespaces in which nobody has used tern yet. `as_root` and `as_nobody` run it there."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix=f"{PREFIX}-people-")
        self.home = os.path.join(self.dir, "home")  # nobody's
        self.cgroup = f"{PREFIX}{os.getpid()}-people"
        os.chmod(self.dir, 0o755)
        os.mkdir(self.home)
        os.chown(self.home, NOBODY, NOBODY)
        self.holder = None

    def __enter__(self):
        script = "mount -t tmpfs none /run; mount -t tmpfs none /var/lib; ip link set lo up; echo up; cat"
        self.holder = subprocess.Popen(["unshare", "--mount", "--net", "--propagation", "private",
                                        "sh", "-ec", script], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        check(self.holder.stdout.readline() == "up\n", "no namespaces of its own")
        return self

    def __exit__(self, *_):
        for tern in (self.as_root, self.as_nobody):
            with contextlib.suppress(subprocess.TimeoutExpired):
                tern("down")
        end_group(f"{cgroup_root()}/tern-{self.cgroup}")
        self.holder.stdin.close()
        self.holder.wait(WAIT)
        shutil.rmtree(self.dir, ignore_errors=True)

    def tern(self, user, arguments, stdin=""):
        command = ["nsenter", f"--target={self.holder.pid}", "--mount", "--net"]
        if user != 0:
            command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                       "HOME": self.home if user else "/nonexistent"}
        return subprocess.run([*command, tern_binary(), *arguments], input=stdin, cwd="/",
                              capture_output=True, text=True, timeout=WAIT, env=environment)

    def as_root(self, *arguments, **options):
        return self.tern(0, arguments, **options)

    def as_nobody(self, *arguments, **options):
        return self.tern(NOBODY, arguments, **options)

    def start_system(self):
        """The daemon as a service manager starts it: root's, without --state, in no mesh yet."""
        self.daemon = subprocess.Popen(
            ["nsenter", f"--target={self.holder.pid}", "--mount", "--net", tern_binary(), "daemon",
             "--listen", "127.0.0.1:0", "--no-discovery", "--name", "desk", "--cgroup",
             self.cgroup], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        wait_for("the daemon to answer", lambda: self.as_root("metrics").returncode == 0)

    def end_system(self):
        self.daemon.terminate()
        self.daemon.wait(WAIT)


def check_said(done, code, *words):
    said = done.stderr
    check(done.returncode == code, lambda: f"{done.args}: exit {done.returncode}: {said.strip()}")
    for word in words:
        check(word in said, lambda: f"{done.args}: does not say {word!r}: {said.strip()}")


def the_machines_daemon_serves_everybody():
    """without a daemon of her own a user asks the system's; what changes it is root's"""
    with Machine() as machine:
        own = f"{machine.home}/.local/state/tern/control.sock"
        for command in (("status",), ("ps",), ("down",), ("logs", "job"), ("migrate", "job")):
            check_said(machine.as_nobody(*command), NO_DAEMON, own, "/run/tern/control.sock",
                       "tern up", "sudo tern up")
        check_said(machine.as_root("status"), NO_DAEMON, "/run/tern/control.sock")
        machine.start_system()
        check_said(machine.as_nobody("up"), REFUSED, "no mesh yet", "sudo tern up")
        check_said(machine.as_root("up"), 0, "desk-mesh")
        check_said(machine.as_nobody("up"), 0, "this machine's daemon runs: desk")
        check(not os.path.exists(f"{machine.home}/.local"), "up made a node of nobody's")
        for command in ("status", "ps", "events", "config", "metrics"):
            check_said(machine.as_nobody(command), 0)
        check_said(machine.as_nobody("ps"), 0, "tern run")
        ran = machine.as_nobody("run", "--on", "here", "--", "id", "-u")
        check_said(ran, 0)
        check(ran.stdout == f"{NOBODY}\n", lambda: f"the job was {ran.stdout!r}")
        for command in (("invite",), ("down",)):
            check_said(machine.as_nobody(*command), REFUSED, "root", "sudo")
        check(alive(machine.daemon.pid), "nobody stopped the system's daemon")
        check_said(machine.as_nobody("run", "--on", "here", "--name", "nap", "--detach", "--",
                                     "sleep", "100"), 0)
        check_said(machine.as_nobody("run", "--on", "here", "--name", "nap", "--", "true"), 125, "still runs",
                   "tern kill")
        check_said(machine.as_nobody("run", "--on", "here", "--detach", "--", "sleep", "100"), 0)
        check_said(machine.as_nobody("run", "--on", "here", "--detach", "--", "sleep", "100"), 0)
        check_said(machine.as_nobody("kill", "sleep"), 1, "several jobs are called sleep: ")
        check_said(machine.as_nobody("kill", "nap", "KILL"), 0)
        # Root's jobs are root's.
        job = json.loads(machine.as_root("run", "--on", "here", "--detach", "--json", "--", "sleep",
                                         "100").stdout)["job"]
        for command in (("logs", job), ("kill", job), ("attach", job)):
            check_said(machine.as_nobody(*command), REFUSED, "root")
        check_said(machine.as_root("kill", job, "KILL"), 0)
        machine.end_system()
        check_said(machine.as_nobody("status"), NO_DAEMON, "sudo tern up")


def ones_own_daemon_comes_first():
    """a user who made a node of her own means that one, and the system's again once it is stopped"""
    with Machine() as machine:
        machine.start_system()
        check_said(machine.as_root("up"), 0)
        os.makedirs(f"{machine.home}/.local/state/tern", mode=0o700)
        for path in (".local", ".local/state", ".local/state/tern"):
            os.chown(f"{machine.home}/{path}", NOBODY, NOBODY)
        check_said(machine.as_nobody("up", "--name", "mine", "--listen", "127.0.0.1:0"), 0,
                   "started the daemon", "mine-mesh")

        def mesh():
            done = machine.as_nobody("status", "--json")
            check_said(done, 0)
            return json.loads(done.stdout)["mesh"]["name"]
        check(mesh() == "mine-mesh", "her own daemon is not asked")
        check_said(machine.as_nobody("down"), 0)
        check(mesh() == "desk-mesh", "the system's daemon is not asked")
        machine.end_system()


def the_doctor_names_what_is_missing():
    """each need of migration: ok where it is, else the command that mends it; nothing is left behind"""
    with Machine() as machine:
        check_said(machine.as_root("doctor"), 0)
        broken = os.path.join(machine.dir, "broken")
        os.mkdir(broken)
        with open(broken + "/tern.toml", "w", encoding="ascii") as file:
            file.write('criu = "/nonexistent/criu"\n')
        check_said(machine.as_root("doctor", "--state", broken), 1, "scripts/install-criu")
        check_said(machine.as_nobody("doctor"), 1, "sudo tern doctor")
        found = json.loads(machine.as_nobody("doctor", "--json").stdout)["checks"]
        missing = {entry["name"] for entry in found if not entry["ok"]}
        check(missing >= {"root", "control groups"}, lambda: f"nobody misses {missing}")
        services = [entry for entry in found
                    if entry["name"] in ("system bus", "logind", "NetworkManager")]
        check(len(services) == 3 and all(entry["ok"] for entry in services),
              lambda: f"of the system's services it says {services}")
        left = [name for name in os.listdir(cgroup_root()) if name.startswith("tern-doctor")]
        check(not left, lambda: f"left behind: {left}")


if __name__ == "__main__":
    sys.exit(run_tests([the_machines_daemon_serves_everybody, ones_own_daemon_comes_first,
                        the_doctor_names_what_is_missing], sys.argv[1:], seconds=280))
