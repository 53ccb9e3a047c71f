#!/usr/bin/env python3
"""The owner's machine sleeps, shuts down, or its network costs: guests of a laptop leave before it
sleeps or shuts down, which waits for them, and are paused while NetworkManager calls its network
metered. Both services are stand-ins (tests/bus/stand_in_services.cc) on a bus of the test's own; the
daemons, the jobs and CRIU are real.

    tests/e2e/test_sleep.py [WORD...]     only tests with a WORD in their name
"""

import os
import select
import shutil
import subprocess
import sys
import time

from harness import (Counter, Failed, Mesh, check, die_with_parent, helper_binary, leave_out,
                     run_tests, wait_for)

POLICY = """<busconfig><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/>
<allow own="*"/><allow user="*"/></policy></busconfig>"""


# Who types at the machine that tests is not the laptop's owner.
NOBODY_TYPES = """[ ! -e /run/utmp ] || mount --bind /dev/null /run/utmp
[ ! -d /sys/class/input ] || mount -t tmpfs none /sys/class/input"""


class Services:
    """A bus, and who has the names of the login manager and NetworkManager on it."""

    def __init__(self, folder):
        with open(folder + "/bus.conf", "w", encoding="ascii") as file:
            file.write(POLICY.format(folder=folder))
        self.bus = subprocess.Popen(
            ["dbus-daemon", "--nofork", "--nosyslog", "--config-file", folder + "/bus.conf"],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
        wait_for("the bus", lambda: os.path.exists(folder + "/bus"))
        self.address = f"unix:path={folder}/bus"
        self.services = subprocess.Popen(
            [helper_binary("../bus/stand_in_services")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=die_with_parent, bufsize=0,
            env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address})
        self.rest = b""
        self.heard = []
        self.expect("ready")

    def order(self, line):
        """It is carried out when this returns."""
        self.services.stdin.write(line.encode() + b"\n")
        while (said := self._read_line(f"done: {line}", 60)) != "done":
            self.heard.append(said)

    def expect(self, line, seconds=60):
        """What the services say next, within that time."""
        said = self.heard.pop(0) if self.heard else self._read_line(line, seconds)
        check(said == line, lambda: f"the services say {said!r}, not {line}")

    def _read_line(self, expected, seconds):
        deadline = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.services.stdout], [], [], left)[0]:
                raise Failed(f"the services do not say: {expected}")
            self.rest += self.services.stdout.read(4096)
        said, _, self.rest = self.rest.partition(b"\n")
        return said.decode()

    def silent(self):
        return not (self.heard or self.rest or
                    select.select([self.services.stdout], [], [], 0)[0])

    def end(self):
        for process in (self.services, self.bus):
            process.kill()
            process.wait()
        self.services.stdin.close()
        self.services.stdout.close()


class Laptops(Mesh):
    """Desk, maybe others, and laptop with a bus."""

    def __init__(self, *options, homes=("desk",)):
        self.services = None

        def prepare(mesh):
            mesh.services = Services(mesh.dir)
            mesh["laptop"].env["DBUS_SYSTEM_BUS_ADDRESS"] = mesh.services.address
            mesh["laptop"].options = list(options)
            mesh["laptop"].setup = NOBODY_TYPES
        super().__init__([*homes, "laptop"], before_start=prepare)

    def __exit__(self, *reason):
        try:
            return super().__exit__(*reason)
        finally:
            if self.services:
                self.services.end()


def state(host, job):
    return next((entry["state"] for entry in host.job(job)), None)


def said(host, kind):
    return [event["text"] for event in host.events() if event["kind"] == kind]


def guest(mesh, home="desk", **options):
    counter = Counter(mesh, mesh[home], **options)
    mesh[home].migrate(counter.job, "laptop")
    counter.wait_further()
    return counter


def guests_are_at_home_when_the_lid_has_closed():
    """the login manager waits for them, and no longer; awake again the laptop takes guests"""
    with Laptops() as mesh:
        desk, laptop, services = mesh["desk"], mesh["laptop"], mesh.services
        services.order("delay 60000000")
        check(services.silent(), "sleep is delayed, and nobody is here who would leave")
        counter = guest(mesh)
        services.expect("inhibited sleep:shutdown delay")
        services.order("sleep")
        services.expect("released", 30)
        check(mesh.only_copy(counter.job) is desk, "it is not at home")
        check(any("it may sleep" in text for text in said(laptop, "sleep")),
              lambda: f"events say: {said(laptop, 'sleep')}")
        refused = desk.tern("migrate", counter.job, "laptop", ok=False)
        check(refused.returncode == 5 and "no jobs of others: it is about to sleep" in refused.stderr,
              lambda: f"to a laptop that falls asleep: {refused.returncode}: {refused.stderr}")
        services.order("wake")
        wait_for("laptop to be awake", lambda: "awake again" in said(laptop, "sleep"))
        wait_for("it to take guests", lambda: desk.tern("migrate", counter.job, "laptop", ok=False,
                                                        seconds=120).returncode == 0)
        services.expect("inhibited sleep:shutdown delay")
        counter.wait_further()
        counter.check_output()
        counter.end()
        services.expect("released")


def guests_of_several_homes_are_all_there_when_the_lid_has_closed():
    """three of two homes, which are asked for together; none waits for the next one's turn"""
    with Laptops(homes=("desk", "shelf")) as mesh:
        laptop, services = mesh["laptop"], mesh.services
        services.order("delay 60000000")
        homes = ["desk", "shelf", "desk"]
        guests = [guest(mesh, home) for home in homes]
        services.expect("inhibited sleep:shutdown delay")
        began = time.monotonic()
        services.order("sleep")
        services.expect("released", 60)
        took = time.monotonic() - began
        for counter, home in zip(guests, homes):
            check(mesh.only_copy(counter.job) is mesh[home], f"one is not at home on {home}")
        check("it may sleep: nothing is here that could leave" in said(laptop, "sleep"),
              lambda: f"events say: {said(laptop, 'sleep')}")
        for counter in guests:
            counter.wait_further()
            counter.check_output()
            counter.end()
        return f"three guests left in {took:.1f} s"


def guests_are_at_home_before_a_shutdown():
    """the login manager waits for them; a shutdown that is called off ends that"""
    with Laptops() as mesh:
        desk, laptop, services = mesh["desk"], mesh["laptop"], mesh.services
        services.order("delay 60000000")
        counter = guest(mesh)
        services.expect("inhibited sleep:shutdown delay")
        own = Counter(mesh, laptop)
        services.order("shutdown")
        services.expect("released", 30)
        check(mesh.only_copy(counter.job) is desk, "it is not at home")
        check(mesh.only_copy(own.job) is laptop, "a job of its own has left")
        check(any("it may shut down" in text for text in said(laptop, "sleep")),
              lambda: f"events say: {said(laptop, 'sleep')}")
        check("send-home: it is about to shut down" in said(laptop, "owner"),
              lambda: f"events say: {said(laptop, 'owner')}")
        services.order("stay")
        wait_for("laptop to stay", lambda: "it does not shut down after all" in
                 said(laptop, "sleep"))
        wait_for("it to take guests", lambda: desk.tern("migrate", counter.job, "laptop", ok=False,
                                                        seconds=120).returncode == 0)
        services.expect("inhibited sleep:shutdown delay")
        counter.wait_further()
        counter.check_output()
        counter.end()
        own.end()
        services.expect("released")


def who_cannot_leave_in_time_stays():
    """home is away: sleep waits as long as the login manager said, and the job goes on afterwards"""
    with Laptops() as mesh:
        desk, laptop, services = mesh["desk"], mesh["laptop"], mesh.services
        services.order("delay 10000000")
        counter = guest(mesh)
        services.expect("inhibited sleep:shutdown delay")
        desk.cut()
        services.order("sleep")
        sentence = wait_for("status to say so", lambda: "is to leave: it is about to sleep" in
                            laptop.tern("status").stdout, 8.5)
        check(sentence, "it does not say so")
        services.expect("released", 20)
        check(any("could not leave in time" in text for text in said(laptop, "sleep")),
              lambda: f"events say: {said(laptop, 'sleep')}")
        services.order("wake")
        desk.heal()
        mesh.wait_alive()
        wait_for("it to go on somewhere", counter.wait_further)
        mesh.only_copy(counter.job)
        counter.check_output()
        counter.end()


def guests_are_paused_while_the_network_is_metered():
    """and nobody is while no service says so"""
    with Laptops("--on-metered", "pause") as mesh:
        desk, laptop, services = mesh["desk"], mesh["laptop"], mesh.services
        counter = guest(mesh)
        services.order("metered 1")
        wait_for("it to be paused", lambda: state(laptop, counter.job) == "paused")
        check("a guest here is paused: its network is metered" in laptop.tern("status").stdout,
              lambda: laptop.tern("status").stdout)
        refused = desk.tern("migrate", Counter(mesh, desk).job, "laptop", ok=False)
        check(refused.returncode == 5 and "of others: its network is metered" in refused.stderr,
              lambda: f"to a metered laptop: exit {refused.returncode}: {refused.stderr}")
        services.order("metered 4")
        wait_for("it to go on", lambda: state(laptop, counter.job) == "running")
        services.order("metered 3")
        wait_for("it to be paused again", lambda: state(laptop, counter.job) == "paused")
        services.order("leave")
        wait_for("it to go on without the services",
                 lambda: state(laptop, counter.job) == "running")
        counter.wait_further()
        counter.check_output()
        counter.end()


def guests_are_paused_while_somebody_works_at_the_desktop():
    """which says so to the login manager"""
    with Laptops("--owner-active", "pause") as mesh:
        laptop, services = mesh["laptop"], mesh.services
        services.order("session wayland user 0 1 1 0 1700000000000000")
        counter = guest(mesh)
        services.order("session wayland user 0 1 0 0 1700000000000000")
        wait_for("it to be paused", lambda: state(laptop, counter.job) == "paused")
        check("a guest here is paused: its owner is active" in laptop.tern("status").stdout,
              lambda: laptop.tern("status").stdout)
        counter.end()


TESTS = [guests_are_at_home_when_the_lid_has_closed,
         guests_of_several_homes_are_all_there_when_the_lid_has_closed,
         guests_are_at_home_before_a_shutdown, who_cannot_leave_in_time_stays,
         guests_are_paused_while_the_network_is_metered,
         guests_are_paused_while_somebody_works_at_the_desktop]

if __name__ == "__main__":
    if shutil.which("dbus-daemon") is None or not os.access(
            helper_binary("../bus/stand_in_services"), os.X_OK):
        leave_out("sleep and metered networks: no dbus-daemon, or no stand-in services")
        sys.exit(77)
    sys.exit(run_tests(TESTS, sys.argv[1:], 280))
