#!/usr/bin/env python3
"""The owner comes first: guests of a laptop that is taken off its charger are paused or throttled,
and go on when it is back. The charger is a folder that its daemon sees as /sys/class/power_supply.

    tests/e2e/test_owner.py [WORD...]     only tests with a WORD in their name
"""

import os
import subprocess
import sys
import time

from harness import Counter, Mesh, check, read, run_tests, tern_binary, wait_for


def power_folder(host):
    return os.path.join(host.mesh.dir, host.name + ".power")


def charger(host, online):
    folder = power_folder(host) + "/BAT0"
    os.makedirs(folder, exist_ok=True)
    text = ("POWER_SUPPLY_TYPE=Battery\nPOWER_SUPPLY_CAPACITY=60\nPOWER_SUPPLY_STATUS=" +
            ("Charging" if online else "Discharging") + "\n")
    with open(folder + "/new", "w", encoding="ascii") as file:
        file.write(text)
    os.rename(folder + "/new", folder + "/uevent")


def laptops(policy):
    """Each host but the first is a laptop with that policy."""
    def prepare(mesh):
        for host in mesh.hosts[1:]:
            charger(host, True)
            host.setup = f"mount --bind {power_folder(host)} /sys/class/power_supply"
            host.options = ["--on-battery", policy]
    return prepare


def state(host, job):
    return next((entry["state"] for entry in host.job(job)), None)


def frozen(host, job):
    groups = host.job_groups(job)
    return len(groups) == 1 and "frozen 1" in read(groups[0] + "/cgroup.events")


def streams(host, job):
    """How many of its checkpoints have been on their way, this daemon's earlier moves included."""
    return sum(event["kind"] == "handover" and event.get("job") == job and
               event["text"] == "stream" for event in host.events())


def stands_still(counter, seconds=1.5):
    before = counter.last()
    time.sleep(seconds)  # nothing is to happen: there is no event to wait for
    return counter.last() == before


def guest(mesh, **options):
    counter = Counter(mesh, mesh["desk"], **options)
    send(mesh, counter)
    return counter


def send(mesh, counter):
    def moves():  # the laptop may have been unplugged a moment ago
        done = mesh["desk"].migrate(counter.job, "laptop", ok=False)
        return isinstance(done, dict) and done["outcome"] == "commit"
    wait_for("it to move", moves, 60)
    counter.wait_further()


def unplug(laptop, counter, expected="paused"):
    charger(laptop, False)
    wait_for(f"the guest to be {expected}", lambda: state(laptop, counter.job) == expected)


def plug_in(laptop, counter):
    charger(laptop, True)
    wait_for("the guest to go on", lambda: state(laptop, counter.job) == "running")
    counter.wait_further()


def a_guest_is_paused_until_the_charger_is_back():
    """said by ps and status; over a killed daemon too, also when the cause goes meanwhile"""
    with Mesh(["desk", "laptop"], before_start=laptops("pause")) as mesh:
        desk, laptop = mesh["desk"], mesh["laptop"]
        counter = guest(mesh)
        own = Counter(mesh, laptop)
        unplug(laptop, counter)
        check(frozen(laptop, counter.job), "its group is not frozen")
        wait_for("desk to say so too", lambda: state(desk, counter.job) == "paused")
        said = laptop.tern("status").stdout + laptop.tern("status").stderr
        check("a guest here is paused: it runs on battery (60 %)" in said, lambda: said)
        check(stands_still(counter), "it runs on")
        own.wait_further()
        laptop.kill_daemon()
        check(stands_still(counter), "it runs on without the daemon")
        laptop.start()
        wait_for("it to be paused still", lambda: state(laptop, counter.job) == "paused")
        check(stands_still(counter), "the restart let it go on")
        plug_in(laptop, counter)
        unplug(laptop, counter)
        laptop.kill_daemon()
        charger(laptop, True)
        laptop.start()
        plug_in(laptop, counter)
        check(not [n for n in os.listdir(f"{laptop.state}/jobs/{counter.job}")
                   if n.startswith("paused")], "the mark is left")
        counter.check_output()
        counter.end()
        own.end()


def a_paused_guest_is_moved_by_a_person():
    """it arrives running, with all of its output, and leaves nothing behind"""
    with Mesh(["desk", "laptop"], before_start=laptops("pause")) as mesh:
        desk, laptop = mesh["desk"], mesh["laptop"]
        counter = guest(mesh)
        unplug(laptop, counter)
        check(desk.migrate(counter.job, "home")["outcome"] == "commit", "it did not come home")
        counter.wait_further()
        check(mesh.only_copy(counter.job) is desk, "it is not at home")
        wait_for("ps to say so", lambda: state(desk, counter.job) == "running")
        check(not laptop.job_groups(counter.job), "its group is left")
        counter.check_output()
        counter.end()


def killed_amid_its_way_home(counter, laptop, victim):
    before = streams(laptop, counter.job)
    with subprocess.Popen([tern_binary(), "migrate", counter.job, "home", "--state", laptop.state],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as moving:
        wait_for("its checkpoint to be on its way",
                 lambda: streams(laptop, counter.job) > before, every=0.005)
        victim.kill_daemon()
        moving.kill()


def what_is_withdrawn_or_parked_stays_paused():
    """a handover that fails does not let a paused guest go on; nor does a wake"""
    with Mesh(["desk", "laptop"], before_start=laptops("pause")) as mesh:
        desk, laptop = mesh["desk"], mesh["laptop"]
        counter = guest(mesh, megabytes=150)
        unplug(laptop, counter)
        # First: a daemon that is started anew has another mount namespace here than its jobs.
        laptop.tern("park", counter.job, seconds=120)
        laptop.tern("wake", counter.job, "laptop", seconds=120)
        wait_for("it to be paused again", lambda: state(laptop, counter.job) == "paused")
        check(stands_still(counter), "the wake let it go on")

        def stays():
            wait_for("that to be over", lambda: state(laptop, counter.job) == "paused", 120)
            check(len(laptop.job_groups(counter.job)) == 1 and frozen(laptop, counter.job) and
                  stands_still(counter), "it does not stand still there")
        killed_amid_its_way_home(counter, laptop, desk)
        stays()
        desk.start()
        mesh.wait_alive()

        def comes_home():  # the person's move may be tried again by itself
            copies = [host for host, *_ in mesh.copies(counter.job)]
            if copies == [desk]:
                return True
            desk.migrate(counter.job, "home", ok=False)
            return False
        wait_for("it to come home", comes_home, 60)
        charger(laptop, True)
        send(mesh, counter)
        unplug(laptop, counter)
        killed_amid_its_way_home(counter, laptop, laptop)
        laptop.start()
        mesh.wait_alive()
        stays()
        plug_in(laptop, counter)
        counter.check_output()
        counter.end()


def a_paused_guest_hears_of_a_signal_later_and_is_killed_at_once():
    """tern kill says so"""
    with Mesh(["desk", "laptop"], before_start=laptops("pause")) as mesh:
        desk, laptop = mesh["desk"], mesh["laptop"]
        for word, ends in (("KILL", True), ("TERM", False)):
            counter = guest(mesh)
            unplug(laptop, counter)
            wait_for("desk to say so too", lambda c=counter: state(desk, c.job) == "paused")
            said = desk.tern("kill", counter.job, word).stderr
            check(("when it goes on" in said) != ends, lambda text=said: text)
            if not ends:
                check(stands_still(counter), "it runs on")
                check(state(laptop, counter.job) == "paused", "it is over")
            charger(laptop, not ends)
            wait_for("it to end", lambda c=counter: state(desk, c.job) == "exited")
            charger(laptop, True)


def a_guest_is_throttled_until_the_charger_is_back():
    """to half of what it used; the rules do not lift it, and a person may"""
    with Mesh(["desk", "laptop"], before_start=laptops("throttle")) as mesh:
        desk, laptop = mesh["desk"], mesh["laptop"]
        counter = guest(mesh)
        unplug(laptop, counter, "throttled")
        counter.wait_further()
        laptop.kill_daemon()
        laptop.start()
        wait_for("it to be throttled still", lambda: state(laptop, counter.job) == "throttled")
        plug_in(laptop, counter)
        unplug(laptop, counter, "throttled")
        said = laptop.tern("status")
        check("a guest here gets half of the CPU time that it used" in said.stdout + said.stderr,
              lambda: f"{said}")
        other = Counter(mesh, desk)
        refused = desk.tern("migrate", other.job, "laptop", ok=False, seconds=60)
        check(refused.returncode == 5 and "battery" in refused.stderr, lambda: f"{refused}")
        check("CRIU" not in refused.stderr, lambda: f"not the one cause: {refused.stderr}")
        other.end()
        wait_for("it to be counted",
                 lambda: laptop.json("metrics")["counters"]["throttles_by_owner"] >= 1)
        desk.tern("throttle", counter.job, "off")
        wait_for("a person's word to hold", lambda: state(laptop, counter.job) == "running")
        counter.check_output()
        counter.end()


TESTS = [a_guest_is_paused_until_the_charger_is_back, a_paused_guest_is_moved_by_a_person,
         what_is_withdrawn_or_parked_stays_paused,
         a_paused_guest_hears_of_a_signal_later_and_is_killed_at_once,
         a_guest_is_throttled_until_the_charger_is_back]

if __name__ == "__main__":
    sys.exit(run_tests(TESTS, sys.argv[1:], 500))
