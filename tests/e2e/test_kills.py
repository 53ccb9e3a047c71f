#!/usr/bin/env python3
"""kill -9 at random moments of daemons, keepers, CRIU and its guard, while jobs move, are parked and
woken, and files are shared, all at once.

    tests/e2e/test_kills.py           12 kills
    TERN_E2E_KILLS=500                so many, in TERN_E2E_MESHES meshes at a time
    TERN_E2E_SEED=N                   what is drawn, as an earlier run's last line has it; of a
                                      long run it is another each time

Before each kill every job of the mesh is told to do something else, and somebody shares a file. After
each: every job is there once, running or parked (cgroups, park files and a witness that no copy can
fool), its output continuous, every node says so too, what was shared has arrived whole, and nothing
else is left. At the end no cgroup, namespace, mount or temporary file is.

The seed fixes what is told to whom, who is to die, and how long after the beginning. What the kernel
makes of it is not in it: a kill that broke something may need a few runs to do it again.
"""

import contextlib
import glob
import os
import random
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field

from harness import (Counter, Failed, check, check_continuous, event_of, kill_pid, procs, read,
                     run_tests, say, subgroups, wait_for)
from test_faults import MESHES, Parts, all_agree, new_mesh, until_noticed
from test_park import parked_file, start
from test_share import MEGA, Sharing, Tree, check_same, inbox_of, stages

KILLS = int(os.environ.get("TERN_E2E_KILLS", "12"))
LONG = KILLS > 60  # not for CI: as long as it takes
SEED = int(os.environ.get("TERN_E2E_SEED", random.randrange(1 << 30) if LONG else 1))
NAMES = ["a", "b", "c"]
JOBS = 3  # in each mesh
RENEWED = 8  # kills that a job lives through
MEGABYTES = 16  # of a job
SHARED = 6 * MEGA
WITHIN = 1.2  # seconds after the beginning: the time that a move takes here
SETTLE = 120  # seconds until everything is as it should be again
ANSWER = 150  # until the person who asked is answered
# How often whom: the daemon has most to lose.
VICTIMS = ["daemon"] * 5 + ["keeper"] * 2 + ["criu"] * 3 + ["guard"] * 2


@dataclass
class Doing:
    """One thing that was asked for, and who has which part in it."""
    text: str
    roles: dict  # of hosts
    job: str = ""
    process: object = None
    sharing: object = None
    path: str = ""
    to: object = None
    said: str = ""  # what was answered


@dataclass
class Load:
    """The jobs of one mesh, and what has been shared in it."""
    mesh: object
    counters: list = field(default_factory=list)
    ages: list = field(default_factory=list)
    shared: int = 0

    def renew(self):
        """Ends the oldest and fills up."""
        while len(self.counters) < JOBS:
            home = self.mesh.hosts[len(self.counters) % len(self.mesh.hosts)]
            self.counters.append(Counter(self.mesh, home, megabytes=MEGABYTES))
            self.ages.append(len(self.ages) % RENEWED)
        for index, counter in enumerate(self.counters):
            self.ages[index] += 1
            if self.ages[index] > RENEWED:
                end(self.mesh, counter)
                self.ages[index] = 0
                self.counters[index] = Counter(self.mesh, counter.home, megabytes=MEGABYTES)

    def begin(self, draw):
        """Tells every job to do something, and shares a file; all of it at once."""
        doings = [self.begin_job(draw, counter) for counter in self.counters]
        source, to = draw.sample(self.mesh.hosts, 2)
        self.shared += 1
        path = Tree(self.mesh).file(f"shared{self.shared}", SHARED)
        sharing = Sharing(source, path, "--to", to.name)
        doings.append(Doing(f"share {source.name}>{to.name}", {"source": source, "sink": to},
                            sharing=sharing, path=path, to=to))
        return doings

    def begin_job(self, draw, counter):
        hosts = self.mesh.hosts
        # By rule it may just be woken.
        host, state = wait_for("it to rest or run", lambda: place(self.mesh, counter.job))
        to = draw.choice([h for h in hosts if h is not host])
        third = next(h for h in hosts if h not in (host, to))
        away = {"source": host, "sink": to, "coordinator": third}
        asked = draw.choice(hosts)
        moves = draw.random() < 0.6
        if state == "running":
            verb = ["migrate", counter.job, to.name] if moves else ["park", counter.job]
        else:
            verb = ["wake", counter.job] + ([to.name] if moves else [])
        return Doing(f"{verb[0]} {host.name}" + (f">{to.name}" if moves else ""),
                     away if moves else {"source": host}, job=counter.job,
                     process=start(asked, *verb))


def place(mesh, job):
    """(host, running or parked), by cgroups and files. Exactly one of the two, exactly once."""
    parked = [host for host in mesh.hosts if parked_file(host, job)]
    copies = mesh.copies(job)
    if parked:
        check(len(parked) == 1 and not copies,
              lambda: f"{job} is parked on {[h.name for h in parked]} and has copies: {copies}")
        return parked[0], "parked"
    check(copies, f"{job} is lost: no process, no file")
    return mesh.only_copy(job), "running"


def end(mesh, counter):
    check_continuous(counter.lines())
    mesh.end_job(counter.job)
    wait_for("its park file to go", lambda: not any(parked_file(h, counter.job)
                                                    for h in mesh.hosts))


# ---- who dies


def victims(mesh, victim, doing, role):
    """PIDs, now."""
    host = doing.roles[role]
    if victim == "daemon":
        return [host.daemon.pid]
    if not doing.job:
        return []
    if victim == "keeper":
        pid = host.keeper_pid(doing.job)
        return [pid] if pid else []
    if victim == "guard":
        return [pid for group in subgroups(host.cgroup)
                if os.path.basename(group).startswith(f"guard-criu-{doing.job}-")
                for pid in procs(group)]
    restores = [pid for group in host.job_groups(doing.job) for pid in procs(group)
                if "\0restore\0" in read(f"/proc/{pid}/cmdline")]
    return host.criu_pids(doing.job) + restores


def strike(mesh, draw, doings):
    """Kills somebody at a random moment; (what was done, what mends it)."""
    victim, late = draw.choice(VICTIMS), draw.random() < 0.2
    doing = draw.choice([d for d in doings if victim == "daemon" or d.job])
    role = draw.choice(sorted(doing.roles))
    if victim in ("criu", "guard") and role == "coordinator":
        role = "source"
    moment, began = draw.random() * WITHIN, time.monotonic()
    name = f"{victim} of {role} in {doing.text}"
    if victim in ("criu", "guard"):  # they live for a part of it only: a moment of that
        with contextlib.suppress(Failed):
            wait_for(name, lambda: victims(mesh, victim, doing, role), 10, every=0.0005)
        moment, began = moment / 6, time.monotonic()
    while time.monotonic() < began + moment:
        time.sleep(0.0005)  # nothing to wait for: a moment is what was drawn
    hit = victims(mesh, victim, doing, role)
    if victim == "daemon":
        host = doing.roles[role]
        host.kill_daemon()
        if late:
            until_noticed(mesh, host)
        host.start()
    else:
        for pid in hit:
            kill_pid(pid)
    return f"{name} after {moment:.2f} s" + (", back late" if late and victim == "daemon" else ""), hit


# ---- what is to hold


def answered(mesh, doing):
    if doing.sharing:
        code, _, said = doing.sharing.wait(ANSWER)
        if code == 4 and "does not answer" in said:  # nobody had taken it; a person says it again
            mesh.wait_alive()
            doing.sharing = Sharing(doing.roles["source"], doing.path, "--to", doing.to.name)
            code, _, said = doing.sharing.wait(ANSWER)
        check(code == 0, lambda: f"{doing.text}: exit {code}: {said}")
        check_same(doing.path, doing.to)
        os.unlink(doing.path)
        return
    try:
        out, err = doing.process.communicate(timeout=ANSWER)
        doing.said = f" (exit {doing.process.returncode}: {(err or out).strip()})"
    except subprocess.TimeoutExpired:
        doing.process.kill()
        raise Failed(f"nobody answered: {doing.text} {doing.job}") from None


def verify(load):
    """Everything is as it should be, of every job; where each is."""
    mesh = load.mesh
    mesh.wait_alive()

    # Over again until it holds as a whole: what was asked of a daemon that died goes on unanswered.
    def settled():
        mesh.wait_no_seats(SETTLE)
        there = [(counter, *place(mesh, counter.job)) for counter in load.counters]
        for counter, host, state in there:
            all_agree(mesh, counter.job, host, state)
            if state == "running":
                counter.wait_further()
        nothing_else(load)
        check(there == [(counter, *place(mesh, counter.job)) for counter in load.counters],
              "something moved meanwhile")
        return there
    there = wait_for("everything to be as it should be", settled, SETTLE)
    for counter, _, state in there:
        if state == "running":
            counter.check_output()
        else:  # what its pipes hold is in its file
            check_continuous(counter.lines())
    return ", ".join(("" if state == "running" else "parked ") + host.name
                     for _, host, state in there)


def nothing_else(load):
    mesh, known = load.mesh, {counter.job for counter in load.counters}
    for host in mesh.hosts:
        left = [name for name in os.listdir(host.cgroup)
                if name.startswith(("criu-", "guard-")) or
                (name.startswith("job-") and name[4:].split("-e")[0] not in known)]
        there = [g for job in known for g in host.job_groups(job)]
        left += [g for g in there if not procs(g) or event_of(g, "frozen")]
        left += [f for kind in ("park-e*.part", "*.new") for f in glob.glob(host.job_file("*", kind))]
        check(not left, lambda: f"left on {host.name}: {left}")
        # Who is killed after the last word keeps the empty stage for a week (daemon/share_in.h).
        parts = [os.path.join(folder, name) for stage in stages(host) for folder, _, names in
                 os.walk(f"{inbox_of(host)}/.tern-partial/{stage}/tree") for name in names]
        check(not parts, lambda: f"left of shares on {host.name}: {parts}")
    return True


def traces(mesh):
    """Namespaces with processes, mounts and temporary files that there are on the machine and in
    the daemons' own view, but for those of programs that are none of this mesh's."""
    own = {str(pid) for host in mesh.hosts for folder, _, _ in os.walk(host.cgroup)
           for pid in procs(folder)} | {str(host.daemon.pid) for host in mesh.hosts}
    spaces = set()
    for pid in own:
        for kind in ("mnt", "pid", "ipc", "uts", "net"):
            with contextlib.suppress(OSError):
                spaces.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    mounts = {line.split(" ", 5)[4] for pid in [*own, "self"]
              for line in read(f"/proc/{pid}/mountinfo").splitlines()
              if mesh.prefix in line or " nsfs " in line}
    files = {os.path.join(folder, name) for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp")
             if os.path.isdir(folder) for name in os.listdir(folder) if mesh.prefix in name}
    return {"namespaces": spaces, "mounts": {m for m in mounts if mesh.prefix in m},
            "temporary files": files,
            "cgroups": {name for host in mesh.hosts for name in subgroups(host.cgroup)}}


def nothing_left(load, before):
    """With all jobs gone."""
    mesh = load.mesh
    for counter in load.counters:
        end(mesh, counter)
    load.counters.clear()
    mesh.wait_no_seats()

    def clean():
        nothing_else(load)
        for kind, now in traces(mesh).items():
            # The keepers' cgroup is made with the first job, and stays.
            more = {one for one in now - before[kind] if not one.endswith("/keepers")}
            check(not more, lambda k=kind: f"{k} left: {sorted(more)}")
        for host in mesh.hosts:
            check(not procs(host.cgroup + "/keepers"), f"keepers are left on {host.name}")
            check(not host.zombies(), f"zombies of {host.name}'s daemon")
        return True
    wait_for("nothing to be left", clean, SETTLE)


# ---- the run


def one_kill(load, number):
    draw = random.Random(f"{SEED} {number}")
    load.renew()
    doings = load.begin(draw)
    try:
        text, hit = strike(load.mesh, draw, doings)
        began = time.monotonic()
        for doing in doings:
            answered(load.mesh, doing)
        asked = time.monotonic() - began
        where = verify(load)
    except Failed as failed:
        raise Failed(f"{locals().get('text', 'before the kill')}, while "
                     f"{'; '.join(d.text + d.said for d in doings)}: {failed}") from failed
    finally:
        for process in [d.process or d.sharing.process for d in doings]:
            if process.poll() is None:
                process.kill()
    say(f"  {number}: {text}{'' if hit else ': nobody there'}; answered after {asked:.1f} s, all well "
        f"after {time.monotonic() - began:.1f} s: {where}")
    return bool(hit)


def run_kills(numbers):
    """{number: whether somebody was killed, or FAILED}"""
    mesh, load, before, results = None, None, None, {}
    try:
        for number in numbers:
            try:
                if mesh is None:
                    mesh = new_mesh(NAMES)
                    load, before = Load(mesh), traces(mesh)
                results[str(number)] = one_kill(load, number)
                if number == numbers[-1]:
                    nothing_left(load, before)
            except (Failed, OSError, subprocess.SubprocessError, ValueError) as error:
                results[str(number)] = "FAILED"
                said = str(error) if isinstance(error, Failed) else traceback.format_exc()
                say(f"  {number}: FAILED: {said}")
                if mesh:
                    mesh.__exit__(Failed, None, None)
                mesh = None
    finally:
        if mesh:
            mesh.__exit__(None, None, None)
    return results


def random_kills():
    """whoever dies whenever: each job is there once, its output whole, and nothing is left"""
    say(f"  seed {SEED}, {KILLS} kills")
    numbers = list(range(KILLS))
    meshes = max(1, min(MESHES, KILLS // 4))
    with Parts(run_kills, [numbers[i::meshes] for i in range(meshes)]) as parts:
        results = parts.results()
    failed = [n for n in numbers if results.get(str(n), "FAILED") == "FAILED"]
    check(not failed, f"seed {SEED}: {len(failed)} of {KILLS} kills: {failed}")
    hit = sum(results[str(n)] for n in numbers)
    return f"seed {SEED}: {hit} killed, {KILLS - hit} times nobody was there at the moment"


if __name__ == "__main__":
    sys.exit(run_tests([random_kills], sys.argv[1:], 36000 if LONG else 580))
