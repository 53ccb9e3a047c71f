#!/usr/bin/env python3
"""A mesh of five, and a day's worth of jobs that arrive within minutes: what the rules make of it, on
real daemons and in the simulator beside it.

    tests/e2e/test_day.py             a morning: less than a minute
    TERN_E2E_DAY=1                    the day: 30 jobs within five minutes, some of them parked
    TERN_E2E_SEED=N                   another day

By the kernel (cgroups) and the nodes' own events: nodes that are PLUS shed, what rests is woken, at the
end nobody is PLUS while somebody could take one of its jobs, no job comes back to where it was less
than two minutes before, and each job that is not over is there once. Then the same arrivals as a
scenario of tern-sim (TERN_SIM), and the counts of both, side by side.

Where they differ, and why: the simulator's jobs need so much time of CPU, while these end after so much
of the clock's, as a machine that tests has fewer CPUs than the five nodes say; its loads are averaged
over 60 s, these in the morning over 5 s and in the day over 60 s; and a wake, a dump or an answer takes
what it takes here, so that another triad forms first, and whom it relieves the next need not.
"""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass

from harness import (Mesh, Watch, check, procs, python, run_tests, say, tern_binary, wait_for)
from test_park import parked_file

DAY = os.environ.get("TERN_E2E_DAY") == "1"
SEED = int(os.environ.get("TERN_E2E_SEED", "1"))
NAMES = ["a", "b", "c", "d", "e"]
WINDOW = 60 if DAY else 5  # seconds of each node's load average
CALM = 300 if DAY else 120  # seconds after the last arrival until all is as it should be
STAYS = 20 if DAY else 5  # and how long it has to stay so
PING_PONG = 120  # seconds (sim/world.h)
ONE_JOB = 0.5  # of the ratio: each node counts two CPUs
PLUS_ABOVE = 0.8

# One that computes, at the lowest priority, for so many seconds that it runs (0: until it is killed).
BUSY = """
import os, sys, time
os.nice(19)
left, last = float(sys.argv[1]), time.monotonic()
forever = left == 0
while forever or left > 0:
    sum(range(20000))
    now = time.monotonic()
    left -= min(now - last, 0.5)  # not while it stands still
    last = now
"""


@dataclass(frozen=True)
class Arrival:
    at: float  # seconds after the beginning
    node: int
    lasts: int  # seconds; 0: to the end
    parked_at: float = 0  # by a person; 0: not


def plan():
    if not DAY:
        return [Arrival(0, 0, 0), Arrival(0, 0, 0), Arrival(0, 0, 0), Arrival(1, 1, 0),
                Arrival(1, 1, 12), Arrival(2, 2, 10)]
    draw = random.Random(SEED)
    day = []
    for _ in range(24):
        at = draw.random() * 260
        parked = at + 5 if draw.random() < 0.2 else 0
        day.append(Arrival(at, draw.choice([0, 0, 0, 1, 1, 2]), draw.randrange(30, 100), parked))
    # And in the evening, what stays: as many as the mesh has room for, all in two places.
    day += [Arrival(280 + n, n % 2, 0) for n in range(5)]
    return sorted(day, key=lambda arrival: arrival.at)


# ---- the real ones


class World:
    def __init__(self, mesh, day):
        self.mesh, self.day = mesh, day
        self.jobs = {}  # id: arrival
        self.watches = [Watch(host) for host in mesh.hosts]
        self.began = time.monotonic()

    def live(self):
        """All arrivals and parks of the day, each at its time."""
        todo = [(a.at, "run", a) for a in self.day]
        todo += [(a.parked_at, "park", a) for a in self.day if a.parked_at]
        by_arrival = {}
        for at, what, arrival in sorted(todo, key=lambda t: t[0]):
            while time.monotonic() < self.began + at:
                time.sleep(0.02)  # the day's own pace
            host = self.mesh.hosts[arrival.node]
            if what == "run":
                job = host.run(python(), "-c", BUSY, str(arrival.lasts))
                by_arrival[arrival] = job
                self.jobs[job] = arrival
            else:
                host.tern("park", by_arrival[arrival], ok=False)  # it may be moving

    def counts(self):
        """{host: jobs that run there}, by cgroups."""
        return {host.name: sum(bool(procs(group)) for job in self.jobs
                               for group in host.job_groups(job)) for host in self.mesh.hosts}

    def told(self, kind):
        return [(at, event) for watch in self.watches for at, event in list(watch.seen)
                if event["kind"] == kind]

    def moves(self):
        """(when, job, from, to) of each handover that was committed; each node tells of it."""
        seen = {}
        for at, event in self.told("handover"):
            handover = event.get("handover")
            if handover and handover["outcome"] == "commit":
                key = (event["job"], handover["epoch"])
                seen[key] = min((at, handover["from"], handover["to"]), seen.get(key, (at + 1,)))
        return sorted((v[0], k[0], v[1], v[2]) for k, v in seen.items())

    def busy(self):
        return [n["name"] for host in self.mesh.hosts for n in host.status()["nodes"]
                if n["id"] == host.id and n["seat"]]

    def rests(self):
        return {job for job in self.jobs for host in self.mesh.hosts if parked_file(host, job)}


def calm(world):
    """Nobody is PLUS while somebody could take one of its jobs; nobody rests while there is room."""
    counts = world.counts()
    plus = [name for name, jobs in counts.items() if jobs * ONE_JOB > PLUS_ABOVE]
    room = [name for name, jobs in counts.items() if (jobs + 1) * ONE_JOB <= PLUS_ABOVE]
    idle = [name for name, jobs in counts.items() if jobs == 0]
    check(not plus or not idle, f"{plus} are PLUS, and {idle} could take a job: {counts}")
    rests = world.rests()
    check(not rests or not room, f"{len(rests)} rest, and {room} have room: {counts}")
    # A copy on its way is counted already.
    check(not world.busy(), "a triad is at work")
    nodes = {n["name"]: n["trit"] for n in world.mesh.hosts[0].status()["nodes"]}
    check(all((nodes[name] == 1) == (name in plus) for name in counts),
          f"their trits are {nodes}, and they run {counts}")
    return True


def each_there_once(world):
    """Whatever is not over runs once or rests once; what was to end has ended."""
    for job, arrival in world.jobs.items():
        copies = world.mesh.copies(job)
        rests = sum(bool(parked_file(host, job)) for host in world.mesh.hosts)
        entry = world.mesh.hosts[arrival.node].job(job)[0]
        over = entry["state"] == "exited"
        check(len(copies) + rests == (0 if over else 1),
              lambda j=job, e=entry, c=copies, r=rests: f"{j} is {e['state']}; {len(c)} copies, {r} rest")
        check(not over or (arrival.lasts > 0 and entry["exit_code"] == 0),
              lambda e=entry: f"it ended: {e}")
        check(over or arrival.lasts == 0 or rests, f"{job} does not end")


def ping_pongs(moves):
    came, count = {}, 0
    for at, job, source, sink in moves:
        if job in came and came[job][1] == sink and at - came[job][0] < PING_PONG:
            count += 1
        came[job] = (at, source)
    return count


def real():
    with Mesh(NAMES, load_window=WINDOW) as mesh:
        world = World(mesh, plan())
        world.live()
        arrived = time.monotonic()

        def over():
            check(all(not mesh.copies(job) for job, a in world.jobs.items()
                      if a.lasts and job not in world.rests()), "some jobs have not ended yet")
            return calm(world)
        wait_for("the mesh to be calm", over, CALM)
        settled = time.monotonic()
        # It stays so: nothing moves any more.
        before = len(world.moves())
        while time.monotonic() < settled + STAYS:
            time.sleep(0.2)  # as long as it has to last
        wait_for("the mesh to be calm still", lambda: calm(world))
        check(len(world.moves()) == before, lambda: f"still moving: {world.moves()[before:]}")
        mesh.wait_no_seats()
        each_there_once(world)
        moves = world.moves()
        names = {host.id: host.name for host in mesh.hosts}
        for at, job, source, sink in moves:
            say(f"  {at - world.began:6.1f} s  {job[:8]} {names[source]} -> {names[sink]}")
        check(moves, "nobody shed anything")
        woken = [e for _, e in world.told("wake") if e.get("rest", {}).get("outcome") == "done"]
        parked = [e for _, e in world.told("park") if e.get("rest", {}).get("outcome") == "done"]
        loads = sorted(world.counts().values())
        return {"jobs": len(world.jobs), "moves": len(moves), "ping_pongs": ping_pongs(moves),
                "parks": len({(e["job"], e["time"]) for e in parked}) if parked else 0,
                "wakes": len({(e["job"], e["time"]) for e in woken}) if woken else 0,
                "ended": sum(1 for a in world.day if a.lasts),
                "spread": (loads[-1] - loads[0]) * ONE_JOB}, settled - arrived


# ---- the same in the simulator


def scenario(day):
    end = max(a.at for a in day) + CALM + STAYS
    lines = [f"seed {SEED}", f"nodes {len(NAMES)}", "starts 1s", f"seconds {end:.0f}s", "settle 240s",
             "crypto fast", "latency 0.0001s 0.001s", "bandwidth 1000000000",
             "all cpus 2 memory 8589934592 load 0"]
    for arrival in day:
        lines.append(f"job at {arrival.at + 3:.3f}s on {arrival.node} threads 1 work "
                     f"{arrival.lasts}s memory 10485760 output 0")
    for arrival in sorted((a for a in day if a.parked_at), key=lambda a: a.parked_at):
        lines.append(f"person at {arrival.parked_at + 3:.3f}s park {day.index(arrival)}")
    return "\n".join(lines) + "\n"


def simulated(day):
    program = os.environ.get("TERN_SIM", os.path.join(os.path.dirname(tern_binary()), "..", "sim",
                                                      "tern-sim"))
    check(os.access(program, os.X_OK), f"there is no tern-sim at {program}")
    path = f"/tmp/te2e{os.getpid()}-day.txt"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(scenario(day))
        done = subprocess.run([program, "run", "--scenario", path, "--json"], capture_output=True,
                              text=True, timeout=300)
    finally:
        os.unlink(path)
    check(done.returncode == 0, lambda: f"the simulator: {done.stdout[-500:]} {done.stderr[-500:]}")
    report = json.loads(done.stdout.splitlines()[-1])
    check(not report["violations"], lambda: f"broken there: {report['violations']}")
    return report


def a_day():
    """jobs arrive at a few of five nodes: they spread, what rests wakes, all comes to rest"""
    day = plan()
    theirs = simulated(day)
    ours, took = real()
    theirs["jobs"] = len(day)
    say(f"  {'':12}{'here':>8}{'tern-sim':>10}")
    for key, value in ours.items():
        say(f"  {key:12}{value:>8}{theirs.get(key, '-'):>10}")
    check(ours["ping_pongs"] == 0, f"{ours['ping_pongs']} jobs came back at once")
    check(theirs["ping_pongs"] == 0, f"{theirs['ping_pongs']} came back at once in the simulator")
    return f"seed {SEED}, calm {took:.0f} s after the last arrival"


if __name__ == "__main__":
    sys.exit(run_tests([a_day], sys.argv[1:], 1500 if DAY else 240))
