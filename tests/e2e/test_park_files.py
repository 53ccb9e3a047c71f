#!/usr/bin/env python3
"""What is in the folder of a parked job, changed or taken away by somebody.

    tests/e2e/test_park_files.py [WORD...]      only tests with a WORD in their name
"""

import os
import sys

from harness import Counter, Counting, Mesh, check, python, run_tests, wait_for
from test_park import SETTLE, parked_file, state_of, wait_parked, wait_running


def damaged_file():
    """a park file that was changed is refused, in a sentence, and the job stays parked"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        counter = Counter(mesh, a, megabytes=2)
        a.tern("park", counter.job)
        name = parked_file(a, counter.job)[0]
        with open(name, "rb") as file:
            whole = file.read()
        for at in (4, 60, len(whole) // 2, len(whole) - 5):
            with open(name, "r+b") as file:
                file.seek(at)
                file.write(bytes([whole[at] ^ 1]))
            refused = a.tern("wake", counter.job, ok=False)
            check(refused.returncode == 1 and "damaged" in refused.stderr,
                  f"changed at {at}: {refused.returncode} {refused.stderr}")
            wait_parked(a, counter.job)
            with open(name, "wb") as file:
                file.write(whole)
        with open(name, "r+b") as file:
            file.truncate(len(whole) // 2)
        check("damaged" in a.tern("wake", counter.job, ok=False).stderr, "half a file was taken")
        with open(name, "wb") as file:
            file.write(whole)
        bases = a.job_file(counter.job, "bases")
        with open(bases, "rb") as file:
            begins = file.read()
        with open(bases, "r+b") as file:
            file.truncate(12)
        refused = a.tern("wake", counter.job, ok=False)
        check(refused.returncode == 1 and "'bases'" in refused.stderr,
              lambda: f"half of 'bases': {refused.returncode} {refused.stderr}")
        wait_parked(a, counter.job)
        with open(bases, "wb") as file:
            file.write(begins)
        a.tern("wake", counter.job)
        wait_running(a, counter.job, counter)
        counter.check_output()
        counter.end()


def taken_away():
    """a parked job whose file somebody removed is lost at its home: said with what is missing, and what
    is left of it stays until it is given up; a guest has ended, and home gets all of its output"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        own, guest = Counter(mesh, a), Counter(mesh, a)
        a.migrate(guest.job, "b")
        gone = {}
        for counter, host in ((own, a), (guest, b)):
            counter.wait_further()
            host.tern("park", counter.job)
            wait_parked(host, counter.job)
            gone[counter.job] = parked_file(host, counter.job)[0]
        for host in (a, b):
            host.stop_daemon()
        for path in gone.values():
            os.remove(path)
        for host in (a, b):
            host.start()
        wait_for("the guest to have ended", lambda: state_of(a, guest.job) == "exited", SETTLE)
        check(a.job(guest.job)[0]["exit_code"] == 137, lambda: f"{a.job(guest.job)}")
        guest.check_output()
        check([e for e in b.events() if e.get("job") == guest.job and gone[guest.job] in e["text"]],
              "b does not say what is missing")
        for _ in range(2):
            wait_for("it to be lost", lambda: state_of(a, own.job) == "lost", SETTLE)
            shown = a.tern("ps").stderr
            check(f"{gone[own.job]} is not there any more" in shown, lambda: f"ps: {shown}")
            check(not mesh.copies(own.job), "it runs")
            a.restart()
        mesh.wait_alive()
        for host in (a, b):
            for words in (("attach", own.job), ("logs", "-f", own.job)):
                done = host.tern(*words, ok=False)
                check(done.returncode == 1 and "the job is lost" in done.stderr,
                      lambda d=done: f"{d.args}: {d}")
        log = a.job_file(own.job, "stdout.log")
        check(os.path.getsize(log) > 0, "its output is gone")
        a.tern("kill", own.job)
        check(not a.job(own.job), "it was given up, and is shown")
        wait_for("its folder to go", lambda: not os.path.exists(log))


# Counts with a file open that it only reads.
OPENS = """
import sys, time
file = open(sys.argv[1])
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)
"""


def a_file_it_had_open():
    """removed while the job rests: the wake says so, and it wakes once the file is back"""
    with Mesh(["a"]) as mesh:
        a = mesh["a"]
        path = os.path.join(mesh.dir, "data")
        with open(path, "w", encoding="ascii") as file:
            file.write("old")
        job = Counting(mesh, a, python(), "-c", OPENS, path)
        a.tern("park", job.job)
        wait_parked(a, job.job)
        os.rename(path, path + ".away")
        refused = a.tern("wake", job.job, ok=False)
        for words in ("was removed here; put it back", path[1:]):
            check(refused.returncode == 1 and words in refused.stderr, lambda: f"{refused}")
        wait_parked(a, job.job)
        os.rename(path + ".away", path)
        a.tern("wake", job.job)
        job.wait_further()
        job.check_output()
        job.end()


if __name__ == "__main__":
    sys.exit(run_tests([damaged_file, taken_away, a_file_it_had_open], sys.argv[1:], seconds=300))
