#!/usr/bin/env python3
"""The same share to the same node, from two programs at once.

    tests/e2e/test_share_twice.py [WORD...]    only tests with a WORD in their name
"""

import subprocess
import sys

from harness import Mesh, check, run_tests, tern_binary
from test_share import MEGA, SLOW_MEGABITS, Tree, arrived, check_same, slow, stages, until_under_way


def share(host, path):
    return subprocess.Popen([tern_binary(), "share", "--state", host.state, path, "--to", "b"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def until_it_waits(program):
    """what it said, up to that the same is being shared already"""
    said = ""
    for line in program.stderr:
        said += line
        if "being shared already" in line:
            return said
    raise AssertionError(f"it did not wait: {said}")


def both_at_once():
    """one after the other: both end well, and each says where it is"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        mesh.slow_down(a, SLOW_MEGABITS)
        for name in ("one.pdf", "two.pdf", "three.pdf", "four.pdf"):  # not each race is the same
            path = Tree(mesh).file(name, 3 * MEGA)
            both = [share(a, path) for _ in range(2)]
            ends = [(program.communicate(timeout=120)[1], program.returncode) for program in both]
            check([code for _, code in ends] == [0, 0], lambda: f"ended: {ends}")
            for there in (name, name.replace(".", " (2).")):
                check_same(path, b, there)
                check(any(there + " arrived" in said for said, _ in ends), lambda: f"says: {ends}")
        check(len(arrived(b)) == 8, lambda: f"arrived: {arrived(b)}")
        check(not stages(b), lambda: f"left: {stages(b)}")


def the_first_is_killed():
    """the second goes on with what the first began"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh.hosts
        if not slow(mesh, a):
            return
        path = Tree(mesh).file("report.pdf", 24 * MEGA)
        first = share(a, path)
        until_under_way(b)
        second = share(a, path)
        said = until_it_waits(second)
        first.kill()
        first.communicate()
        said += second.communicate(timeout=120)[1]
        check(second.returncode == 0, lambda: f"exit {second.returncode}: {said}")
        check(arrived(b) == ["report.pdf"], lambda: f"arrived: {arrived(b)}")
        check_same(path, b, "report.pdf")


if __name__ == "__main__":
    sys.exit(run_tests([both_at_once, the_first_is_killed], sys.argv[1:], seconds=280))
