#!/usr/bin/env python3
"""`tern drain`: guests go home or elsewhere, the node takes none, also after a restart.

    tests/e2e/test_drain.py [WORD...]     only tests with a WORD in their name
"""

import json
import os
import subprocess
import sys

from harness import WAIT, Counter, Mesh, check, run_tests, tern_binary, wait_for

REFUSED = 5


def drain(host, *options, ok=True):
    return host.tern("drain", *options, ok=ok, seconds=120)


def a_drained_node_is_empty_and_stays_so():
    """a guest goes home, a job at home there to an idle node; nobody comes until --off"""
    with Mesh(["alpha", "beta", "gamma"]) as mesh:
        alpha, beta = mesh["alpha"], mesh["beta"]
        guest = Counter(mesh, alpha)
        own = Counter(mesh, beta)
        alpha.migrate(guest.job, "beta")
        guest.wait_further()
        plan = json.loads(drain(beta, "--dry-run", "--json").stdout)
        check(not plan["draining"], "a dry run drains")
        check({job["job"]: job["to"] for job in plan["jobs"]}[guest.job] == "alpha",
              lambda: f"the guest would not go home: {plan}")
        done = drain(beta)
        check("no job is left here" in done.stderr, lambda: f"drain says: {done.stderr}")
        check(alpha.job(guest.job)[0]["node"] == "alpha", "the guest is not at home")
        check(beta.job(own.job)[0]["node"] != "beta", "the own job did not leave")
        for job in (guest, own):
            job.wait_further()
            job.check_output()
        refused = alpha.tern("migrate", guest.job, "beta", ok=False, seconds=60)
        check(refused.returncode == REFUSED and "drained" in refused.stderr,
              lambda: f"migrate to a drained node: exit {refused.returncode}: {refused.stderr}")
        beta.restart()
        mesh.wait_alive()
        check(json.loads(drain(beta, "--dry-run", "--json").stdout)["draining"],
              "a restart ended the drain")
        drain(beta, "--off")
        wait_for("beta to be told of as taking jobs", lambda: alpha.tern(
            "migrate", guest.job, "beta", ok=False, seconds=60).returncode == 0, 60)
        guest.wait_further()
        guest.end()
        own.end()


def who_waits_may_go():
    """with nobody to take the job the drain says so and waits; Ctrl-C ends the waiting only"""
    with Mesh(["alpha"]) as mesh:
        alpha = mesh["alpha"]
        job = Counter(mesh, alpha, name="count")
        waiting = subprocess.Popen(
            [tern_binary(), "--state", alpha.state, "drain"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = waiting.stderr.readline()
        while said and "no idle node" not in said:
            said = waiting.stderr.readline()
        check("count" in said, lambda: f"it does not say for whom it waits: {said!r}")
        waiting.send_signal(2)
        waiting.wait(WAIT)
        waiting.stderr.close()
        check(json.loads(drain(alpha, "--dry-run", "--json").stdout)["draining"],
              "Ctrl-C ended the drain")
        for was in ("the drain is off", "no drain was on"):
            off = drain(alpha, "--off")
            check(f"{was}; this node takes guests" in off.stderr and not off.stdout,
                  lambda o=off: f"it says {o.stdout}{o.stderr}")
        job.wait_further()
        job.check_output()
        job.end()


def what_is_parked_stays():
    """a parked job needs nothing of the node: a drain does not wake it somewhere else"""
    with Mesh(["alpha", "beta"]) as mesh:
        alpha = mesh["alpha"]
        job = Counter(mesh, alpha)
        alpha.tern("park", job.job)
        drain(alpha)
        entry = alpha.job(job.job)[0]
        check((entry["node"], entry["state"]) == ("alpha", "parked"), lambda: f"it is {entry}")
        drain(alpha, "--off")
        alpha.tern("wake", job.job)
        job.wait_further()
        job.check_output()
        job.end()


def what_fits_nowhere_is_parked_when_asked_for():
    """the last step of drain --park; it says so, and tern wake brings the job back"""
    with Mesh(["alpha"]) as mesh:
        alpha = mesh["alpha"]
        job = Counter(mesh, alpha, name="count")
        plan = drain(alpha, "--dry-run", "--park")
        check("parked, as no idle node has room" in plan.stdout, lambda: plan.stdout)
        check(alpha.job(job.job)[0]["state"] == "running", "a dry run parks")
        done = drain(alpha, "--park")
        check("what is parked here" in done.stderr, lambda: done.stderr)
        check(alpha.job(job.job)[0]["state"] == "parked", lambda: f"{alpha.job(job.job)}")
        check(not alpha.job_groups(job.job), "its processes are left")
        drain(alpha, "--off")
        alpha.tern("wake", job.job)
        job.wait_further()
        job.check_output()
        job.end()


def supply(folder, name, **fields):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    path = os.path.join(folder, name, "uevent")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.writelines(f"POWER_SUPPLY_{key.upper()}={value}\n" for key, value in fields.items())
    os.rename(path + ".new", path)


def a_low_battery_drains():
    """a stand-in battery: on it no guests come; low, all jobs leave; at the charger guests may come"""
    def prepare(mesh):
        mesh.power = os.path.join(mesh.dir, "power")
        supply(mesh.power, "AC", type="Mains", online=1)
        supply(mesh.power, "BAT0", type="Battery", status="Charging", capacity=60)
        mesh["beta"].setup = f"mount --bind {mesh.power} /sys/class/power_supply"

    def accepts(host):
        return host.tern("migrate", guest.job, "beta", ok=False, seconds=60).returncode == 0

    with Mesh(["alpha", "beta", "gamma"], before_start=prepare) as mesh:
        alpha, beta = mesh["alpha"], mesh["beta"]
        guest = Counter(mesh, alpha)
        own = Counter(mesh, beta)
        check(accepts(alpha), "a laptop at its charger takes no guest")
        guest.wait_further()
        alpha.migrate(guest.job, "home")
        supply(mesh.power, "AC", type="Mains", online=0)
        supply(mesh.power, "BAT0", type="Battery", status="Discharging", capacity=59)

        def said(word):
            return [e for e in beta.events() if e["kind"] == "owner" and word in e["text"]]
        wait_for("beta to heed its battery", lambda: said("runs on battery"))
        refused = alpha.tern("migrate", guest.job, "beta", ok=False, seconds=60)
        check(refused.returncode == REFUSED and "it runs on battery (59 %)" in refused.stderr,
              lambda: f"to a node on battery: exit {refused.returncode}: {refused.stderr}")
        check(beta.job(own.job)[0]["node"] == "beta", "its own job left too early")
        supply(mesh.power, "BAT0", type="Battery", status="Discharging", capacity=9)
        wait_for("the own job to leave", lambda: beta.job(own.job)[0]["node"] != "beta", 60)
        check("9 %" in said("low")[-1]["text"], "the events do not say why")
        supply(mesh.power, "AC", type="Mains", online=1)
        wait_for("beta to take guests again", lambda: said("welcome"))
        wait_for("a guest to come", lambda: accepts(alpha), 60)
        for job in (guest, own):
            job.wait_further()
            job.check_output()
            job.end()


if __name__ == "__main__":
    sys.exit(run_tests([a_drained_node_is_empty_and_stays_so, who_waits_may_go, what_is_parked_stays,
                        what_fits_nowhere_is_parked_when_asked_for, a_low_battery_drains],
                       sys.argv[1:], 280))
