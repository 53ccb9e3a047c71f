#!/usr/bin/env python3
"""Whose jobs move where: a user's job, started and moved by that user through root daemons, and what
a node's policy refuses.

    tests/e2e/test_users.py [WORD...]     only tests with a WORD in their name
"""

import json
import os
import subprocess
import sys

from harness import WAIT, Counting, Mesh, check, read, run_tests, tern_binary, wait_for

UID, GID = 65534, 65534  # nobody
SHELL = 'n=0; while :; do echo $((n += 1)); sleep 0.02; done'
REFUSED = 5


def as_user(host, *arguments, seconds=WAIT, uid=UID):
    """tern as somebody who is nobody here, and has no home folder."""
    return subprocess.run([tern_binary(), arguments[0], "--state", host.state, *arguments[1:]],
                          capture_output=True, text=True, timeout=seconds, cwd="/", user=uid,
                          group=GID, extra_groups=[],
                          env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})


class UsersJob(Counting):
    """Counting, of nobody."""

    def __init__(self, mesh, host, *command):
        done = as_user(host, "run", "--on", "here", "--detach", "--json", "--", *command)
        check(done.returncode == 0, lambda: f"nobody's tern run: {done.stderr.strip()}")
        self.mesh = mesh
        self.home = host
        self.job = json.loads(done.stdout)["job"]
        self.wait_further(3)

    def move(self, source, sink):
        done = as_user(source, "migrate", self.job, sink.name, "--json", seconds=120)
        check(done.returncode == 0, lambda: f"nobody's tern migrate: {done.stderr.strip()}")
        check(json.loads(done.stdout)["outcome"] == "commit", lambda: f"not moved: {done.stdout}")


def check_is_users(mesh, job):
    """Every process of the job, init included, is nobody's, has no capability and cannot get one."""
    for _, _, pids, _ in mesh.copies(job):
        for pid in pids:
            status = dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines()
                          if ":\t" in line)
            if not status:
                continue  # it ended
            for key, value in (("Uid", UID), ("Gid", GID)):
                check(status[key].split() == [str(value)] * 4,
                      lambda: f"process {pid} has {key} {status[key]}")
            for key in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                check(int(status[key], 16) == 0, lambda: f"process {pid} has {key} {status[key]}")
            check(status["NoNewPrivs"] == "1", f"process {pid} may gain privileges")


def check_refused(done, *words):
    said = done.stderr.strip()
    check(done.returncode == REFUSED, lambda: f"exit {done.returncode}, not refused: {said}")
    check(all(word in said for word in words), lambda: f"the refusal does not say {words}: {said}")


def a_users_job_moves():
    """a job of nobody moves by nobody's command to a node that takes nobody's jobs, and back"""
    def policy(mesh):
        for name in ("a", "b"):
            mesh[name].options = ["--policy-uids", str(UID)]
    with Mesh(["a", "b", "c"], before_start=policy) as mesh:
        here, there, other = mesh.hosts
        job = UsersJob(mesh, here, "/bin/sh", "-c", SHELL)
        check_is_users(mesh, job.job)
        for source, sink in ((here, there), (there, here)) * 2:
            job.move(source, sink)
            job.wait_further()
            check(mesh.only_copy(job.job) is sink, f"the job does not run on {sink.name}")
            check_is_users(mesh, job.job)
            job.check_output()
        check_refused(as_user(here, "migrate", job.job, other.name), str(UID))
        job.wait_further()
        check(mesh.only_copy(job.job) is here, "the refusal cost the job its place")
        lines = job.check_output()
        root = f"/var/lib/tern/helpers/root-{job.job}"
        check(os.path.isdir(root + "/proc") and not os.listdir(root + "/proc"),
              "its /proc stays shown after the move")
        job.end()
        wait_for("init's root folder to go", lambda: not os.path.exists(root))
        return f"4 moves, {lines} lines"


def roots_jobs_are_refused():
    """a node without --allow-root-jobs takes none; the job runs on where it is"""
    with Mesh(["a", "b"], root_jobs=False) as mesh:
        here, there = mesh.hosts
        job = Counting(mesh, here, "/bin/sh", "-c", SHELL)
        check_refused(here.migrate(job.job, there.name, ok=False), "root")
        job.wait_further()
        check(mesh.only_copy(job.job) is here, "the refusal cost the job its place")
        job.check_output()
        job.end()


def a_uid_means_somebody_only_where_the_policy_says_so():
    """another node's word for who asks: its own jobs, and whom this node's policy names; also logs"""
    def policy(mesh):
        mesh["a"].options = ["--policy-uids", str(UID)]
    with Mesh(["a", "b", "c"], before_start=policy, root_jobs=False) as mesh:
        named, plain, other = mesh.hosts
        names = {host.status()["mesh"]["name"] for host in mesh.hosts}
        check(len(names) == 1, lambda: f"members call their mesh {names}")
        # At home on a, which knows nobody of other nodes as the same person, but not their root.
        job = UsersJob(mesh, named, "/bin/sh", "-c", SHELL)
        done = as_user(other, "logs", job.job)
        check(done.returncode == 0 and done.stdout.startswith("1\n2\n3\n"),
              lambda: f"nobody's log is not shown: {done.stderr.strip()}")
        check_refused(as_user(other, "logs", job.job, uid=UID - 1), "owner")
        check_refused(other.tern("logs", job.job, ok=False), "owner")
        check_refused(other.tern("kill", job.job, ok=False), "root")
        check_refused(other.tern("migrate", job.job, "b", "--dry-run", ok=False), "root")
        job.end()
        # At home on b, which knows nobody.
        job = UsersJob(mesh, plain, "/bin/sh", "-c", SHELL)
        for command in ("logs", "kill", "attach"):
            check_refused(as_user(other, command, job.job), "policy")
        for done in (as_user(plain, "logs", job.job), plain.tern("logs", job.job)):
            check(done.stdout.startswith("1\n2\n3\n"), "not even at home")
        check(as_user(plain, "kill", job.job, "KILL").returncode == 0, "not even at home")
        wait_for("the job to end", lambda: not mesh.copies(job.job))


def strangers_are_refused():
    """what is not theirs, users may look at but not end, move or change"""
    with Mesh(["a", "b"]) as mesh:
        here, there = mesh.hosts
        job = Counting(mesh, here, "/bin/sh", "-c", SHELL)
        check(as_user(here, "status").returncode == 0, "nobody may not ask for the status")
        check_refused(as_user(here, "kill", job.job))
        check_refused(as_user(here, "migrate", job.job, there.name))
        check_refused(as_user(here, "invite"))
        for name in os.listdir(here.state):
            path = f"{here.state}/{name}"
            mode = os.lstat(path).st_mode & 0o777
            check(name == "control.sock" or mode & 0o077 == 0,
                  lambda: f"{name} in the state folder is open to others: {mode:o}")
        job.wait_further()
        job.end()


if __name__ == "__main__":
    sys.exit(run_tests([a_users_job_moves, roots_jobs_are_refused,
                        a_uid_means_somebody_only_where_the_policy_says_so, strangers_are_refused],
                       sys.argv[1:], seconds=280))
