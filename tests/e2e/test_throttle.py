#!/usr/bin/env python3
"""Throttling, on real jobs: by the process rule and by a person, with quotas of cgroup version 1
and with nice values. Whether it holds is read from the kernel: quota files, cpu.stat, /proc.

    tests/e2e/test_throttle.py [WORD...]     only tests with a WORD in their name
"""

import os
import re
import sys

import harness
from harness import Mesh, check, leave_out, procs, read, run_tests, wait_for

# Works while its file is there, and starts a child now and then; its children are the job's too.
# At nice -15, its session too (sched(7), autogroups), so that a busy machine lets it be a hog.
HOG = r"""
import os, subprocess, sys, time
os.nice(-15)
try:
    with open("/proc/self/autogroup", "w") as file:
        file.write("-15")
except OSError:
    pass
while True:
    while os.path.exists(sys.argv[1]):
        for _ in range(20):
            sum(range(200000))
        if os.path.exists(sys.argv[1] + ".forks"):
            subprocess.run(["/bin/true"])
    time.sleep(0.05)
"""


def quota_mount():
    """Where the cpu controller of version 1 is, down to this process's own group; None: nowhere."""
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup" and "cpu" in right.split()[-1].split(","):
            for own in read("/proc/self/cgroup").splitlines():
                _, controllers, path = own.split(":", 2)
                if "cpu" in controllers.split(","):
                    return left.split()[4], os.path.normpath(left.split()[4] + path)
    return None


class Hog:
    def __init__(self, mesh, host, name):
        self.mesh = mesh
        self.file = os.path.join(mesh.dir, name + ".works")
        self.work()
        self.job = host.run(harness.python(), "-c", HOG, self.file, name=name)

    def work(self, forks=False):
        for name in [self.file] + ([self.file + ".forks"] if forks else []):
            with open(name, "w", encoding="ascii"):
                pass

    def rest(self):
        os.unlink(self.file)


def quota_group(host, job):
    """The job's group of version 1; None: it has none."""
    root = f"{quota_mount()[1]}/{os.path.basename(host.cgroup)}"
    groups = [g for g in harness.subgroups(root) if os.path.basename(g).startswith(f"job-{job}-e")]
    check(len(groups) <= 1, f"{len(groups)} groups of one job: {groups}")
    return groups[0] if groups else None


def quota(host, job):
    """Micro-seconds in each 100,000; None: no quota."""
    group = quota_group(host, job)
    micros = int(read(group + "/cpu.cfs_quota_us", "-1")) if group else -1
    return micros if micros > 0 else None


def stat_of(group, key):
    return int(re.search(rf"^{key} (\d+)$", read(group + "/cpu.stat"), re.M).group(1))


def check_members(host, job):
    """All of its processes are in the group of version 1, whenever they were forked."""
    group = quota_group(host, job)

    def same():
        inside = set(procs(group))
        own = {pid for g in host.job_groups(job) for pid in procs(g)}
        return own and own <= inside | {p for p in own if not harness.alive(p)}
    wait_for("all processes of the job to be in its quota's group", same)


def check_bounded(host, job):
    """Over a second and more of the CPU's own clock the job has no more than its quota."""
    group = quota_group(host, job)
    micros = quota(host, job)
    accounts = [g for g in host.job_groups(job)]

    def used():
        ticks = 0
        for pid in {p for g in accounts for p in procs(g)}:
            fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
            ticks += sum(int(value) for value in fields[11:15]) if fields else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    periods, throttled = stat_of(group, "nr_periods"), stat_of(group, "nr_throttled")
    before = used()
    wait_for("30 periods of the quota", lambda: stat_of(group, "nr_periods") >= periods + 30)
    passed = (stat_of(group, "nr_periods") - periods) * 0.1
    share = (used() - before) / passed
    check(share <= micros / 100000 * 1.2 + 0.05, f"it had {share:.2f} CPUs of {micros / 100000}")
    # A busy machine may give it less than its quota for a while.
    wait_for("the quota to bind it", lambda: stat_of(group, "nr_throttled") > throttled)
    return share


def state(host, job):
    there = host.job(job)
    return there[0]["state"] if there else None


def says(host, job, text):
    return [e for e in host.events() if e["kind"] == "throttle" and e.get("job") == job
            and text in e["text"]]


def test_a_hog_on_an_ergodic_node():
    """Throttled to about half of what it used, and lifted when the cause is gone."""
    if quota_mount() is None:
        return leave_out("quotas of version 1: the cpu controller is not there")
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        hog = Hog(mesh, a, "hog")
        hog.work(forks=True)
        wait_for("the rule to throttle it", lambda: quota(a, hog.job))
        wait_for("ps to say so", lambda: state(a, hog.job) == "throttled")
        wait_for("an event to tell of it", lambda: says(a, hog.job, "by the rule"))
        check_members(a, hog.job)
        micros = quota(a, hog.job)
        # One thread that got most of a CPU: it is at nice -15.
        check(25000 <= micros <= 60000, f"half of about one CPU is not {micros / 100000} CPUs")
        share = check_bounded(a, hog.job)
        node = a.status()["nodes"][0]
        check(node["trit"] == 0, f"it counts as before, so the node stays ERGODIC: {node}")
        metrics = a.json("metrics")["counters"]
        check(metrics["throttles_by_rule"] >= 1 and metrics["jobs_throttled"] == 1, f"{metrics}")
        hog.rest()
        wait_for("the rule to lift it", lambda: quota_group(a, hog.job) is None, 120)
        wait_for("ps to say so", lambda: state(a, hog.job) == "running")
        wait_for("an event to tell of it", lambda: says(a, hog.job, "lifted by the rule"))
        mesh.end_job(hog.job)
        return f"quota {micros / 1000:.0f} % of a CPU, it had {share * 100:.0f} %"


def test_a_persons_word():
    """tern throttle from any node: a limit, off, and back to the rules."""
    if quota_mount() is None:
        return leave_out("quotas of version 1: the cpu controller is not there")
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        hog = Hog(mesh, a, "hog")
        wait_for("b to know the job", lambda: b.job(hog.job))
        b.tern("throttle", "hog", "25")
        check(quota(a, hog.job) == 25000, f"its quota is {quota(a, hog.job)}")
        check(state(b, hog.job) == "throttled", f"ps on b says {state(b, hog.job)}")
        wait_for("an event to tell of it", lambda: says(a, hog.job, "by a person"))
        check_bounded(a, hog.job)
        a.tern("throttle", "hog", "off")
        check(quota_group(a, hog.job) is None, "off left its group")
        periods = [e for e in a.events() if e["kind"] == "throttle"]
        check(len(periods) == 2, f"after a person's word the rules have none: {periods}")
        bad = a.tern("throttle", "hog", "0", ok=False)
        check(bad.returncode == 2, f"0 percent: exit {bad.returncode}")
        a.tern("throttle", "hog", "auto")
        wait_for("the rule to throttle it", lambda: quota(a, hog.job), 120)
        mesh.end_job(hog.job)
        wait_for("its group to go", lambda: quota_group(a, hog.job) is None)


def test_it_moves():
    """A throttled job moves, runs there without the throttle, and comes back without it."""
    if quota_mount() is None:
        return leave_out("quotas of version 1: the cpu controller is not there")
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        counter = harness.Counter(mesh, a, megabytes=20)
        a.tern("throttle", counter.job, "50")
        check(quota(a, counter.job) == 50000, f"its quota is {quota(a, counter.job)}")
        check(a.migrate(counter.job, "b")["outcome"] == "commit", "it did not move")
        check(mesh.only_copy(counter.job) is b, "it is not on b")
        wait_for("its group on a to go", lambda: quota_group(a, counter.job) is None)
        check(quota_group(b, counter.job) is None, "it has a group on b")
        wait_for("ps to show it as it is", lambda: state(a, counter.job) == "running")
        counter.wait_further()
        a.tern("throttle", counter.job, "60")
        check(quota(b, counter.job) == 60000, "a person on a throttles it on b")
        check(b.migrate(counter.job, "a")["outcome"] == "commit", "it did not come back")
        wait_for("its group on b to go", lambda: quota_group(b, counter.job) is None)
        counter.wait_further()
        counter.check_output()
        counter.end()


def test_the_daemon_is_killed():
    """The throttle holds over it; nothing is left when the job ended meanwhile."""
    if quota_mount() is None:
        return leave_out("quotas of version 1: the cpu controller is not there")
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        hog = Hog(mesh, a, "hog")
        a.tern("throttle", "hog", "30")
        a.kill_daemon()
        check(quota(a, hog.job) == 30000, "the quota went with the daemon")
        a.start()
        wait_for("ps to say so", lambda: state(a, hog.job) == "throttled")
        check(quota(a, hog.job) == 30000, "the quota went with the restart")
        a.tern("throttle", "hog", "off")
        check(quota_group(a, hog.job) is None, "off left its group")
        a.tern("throttle", "hog", "40")
        a.kill_daemon()
        harness.end_group(a.job_groups(hog.job)[0])
        a.start()
        wait_for("the job to be over", lambda: state(a, hog.job) == "exited")
        check(quota_group(a, hog.job) is None, "its quota's group is left")
        root = f"{quota_mount()[1]}/{os.path.basename(a.cgroup)}"
        check(not os.path.exists(root), f"{root} is left")


def nices(host, job):
    found = set()
    for group in host.job_groups(job):
        for pid in procs(group):
            fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[-1].split()
            if fields:
                found.add(int(fields[16]))
    return found


def test_nice_where_there_are_no_quotas():
    """Every process yields by 10, over a restart too, and is set back."""
    mount = quota_mount()

    def without(mesh):
        for host in mesh.hosts if mount else []:
            host.setup = f"umount {mount[0]}"
    # A job of a daemon with mounts of its own does not move: what a dump finds is tried in
    # tests/machine/cpu_limit_test.cc.
    with Mesh(["a"], before_start=without) as mesh:
        a = mesh["a"]
        counter = harness.Counter(mesh, a)
        check(nices(a, counter.job) == {0}, f"it begins at {nices(a, counter.job)}")
        a.tern("throttle", counter.job, "50")
        check(nices(a, counter.job) == {10}, f"throttled it is at {nices(a, counter.job)}")
        wait_for("an event to tell by which means", lambda: says(a, counter.job, "(nice)"))
        a.kill_daemon()
        a.start()
        wait_for("ps to say so", lambda: state(a, counter.job) == "throttled")
        check(nices(a, counter.job) == {10}, f"after a restart it is at {nices(a, counter.job)}")
        a.tern("throttle", counter.job, "off")
        check(nices(a, counter.job) == {0}, f"off left it at {nices(a, counter.job)}")
        counter.check_output()
        counter.end()


TESTS = [test_a_hog_on_an_ergodic_node, test_a_persons_word, test_it_moves,
         test_the_daemon_is_killed, test_nice_where_there_are_no_quotas]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 400))
