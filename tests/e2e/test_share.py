#!/usr/bin/env python3
"""Files to other nodes: whole, verified, once, whatever is killed on the way.

    tests/e2e/test_share.py [WORD...]    only tests with a WORD in their name
"""

import contextlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys

from harness import Failed, Mesh, check, leave_out, run_tests, tern_binary, wait_for

MEGA = 1 << 20
SLOW_MEGABITS = 80  # 10 MB in a second: time enough to kill somebody


class Tree:
    """A folder of its own for what is shared."""

    def __init__(self, mesh):
        self.path = os.path.join(mesh.dir, "source")
        os.makedirs(self.path, exist_ok=True)
        os.chmod(self.path, 0o755)

    def file(self, name, size):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            for _ in range(size // MEGA):
                file.write(os.urandom(MEGA))
            file.write(os.urandom(size % MEGA))
        return path


def inbox_of(host):
    """As the daemon sees it, which may have mounts of its own."""
    return f"/proc/{host.daemon.pid}/root{host.state}/inbox"


def arrived(host):
    with contextlib.suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(inbox_of(host)) if name != ".tern-partial")
    return []


def staged(host):
    """Bytes of what has come so far, of all shares."""
    total = 0
    for folder, _, names in os.walk(inbox_of(host) + "/.tern-partial"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(folder, name)).st_size
    return total


def stages(host):
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(inbox_of(host) + "/.tern-partial")
    return []


def look(path):
    """Everything of a tree that must travel: kind, mode, time, content or target, by its path."""
    found = {}
    top = os.fsencode(path)
    for folder, folders, files in os.walk(top):
        for name in [b"."] + folders + files:
            full = os.path.join(folder, name)
            info = os.lstat(full)
            content = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(full)
            elif stat.S_ISREG(info.st_mode):
                with open(full, "rb") as file:
                    content = file.read()
            elif not stat.S_ISDIR(info.st_mode):
                continue
            mtime = None if stat.S_ISLNK(info.st_mode) else info.st_mtime_ns
            found[os.path.relpath(full, top)] = (stat.S_IFMT(info.st_mode),
                                                 stat.S_IMODE(info.st_mode), mtime, content)
    return found


def check_same(source, host, name=None):
    there = os.path.join(inbox_of(host), name or os.path.basename(source))
    check(os.path.exists(there), lambda: f"{there} is not there, but {arrived(host)}")
    if os.path.isfile(source):
        check(subprocess.run(["cmp", source, there], check=False).returncode == 0,
              f"{there} is another than {source}")
        return
    ours, theirs = look(source), look(there)
    check(ours.keys() == theirs.keys(),
          lambda: f"other names: {sorted(ours.keys() ^ theirs.keys())}")
    for path, entry in ours.items():
        check(theirs[path] == entry, lambda: f"{path!r} is another: {entry[:3]} {theirs[path][:3]}")


class Sharing:
    """`tern share` in the background."""

    def __init__(self, host, *arguments):
        self.host = host
        self.process = subprocess.Popen(
            [tern_binary(), "share", "--state", host.state, *arguments, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait(self, seconds=120):
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise Failed(f"tern share did not end: {err}") from None
        return self.process.returncode, json.loads(out) if out else None, err

    def ends_well(self):
        code, report, err = self.wait()
        check(code == 0, lambda: f"tern share: exit {code}: {err}")
        return report


def until_under_way(host, at_least=MEGA):
    wait_for("a part to have come", lambda: staged(host) > at_least, every=0.01)


# ---- what travels


def whole_trees():
    """a tree arrives as it is: odd names, links, modes, times, holes; never over something there"""
    with Mesh(["a", "b", "c"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        tree = Tree(mesh)
        top = os.path.join(tree.path, "tree")
        tree.file("tree/deep/er/still/file", 3 * MEGA + 17)
        tree.file("tree/one", 1)
        tree.file("tree/empty", 0)
        os.makedirs(top + "/no files")
        for name in (b"new\nline", b"\xff\xfe no text", b"-rf", b"\xc3\xa4 (2)", b"n" * 255, b"..."):
            with open(os.fsencode(top) + b"/" + name, "wb") as file:
                file.write(name)
        sparse = os.path.join(top, "sparse")
        with open(sparse, "wb") as file:
            file.seek(200 * MEGA)
            file.write(b"end")
            file.truncate(300 * MEGA)
        os.symlink("one", top + "/link")
        os.symlink("../../one", top + "/deep/er/up")
        os.symlink("nowhere", top + "/dangling")
        os.symlink("/etc/passwd", top + "/out")
        os.symlink("../../outside", top + "/deep/out too")
        os.mkfifo(top + "/pipe")
        os.chmod(top + "/one", 0o400)
        os.chmod(top + "/no files", 0o555)
        os.chmod(top + "/empty", 0o777)
        os.utime(top + "/one", ns=(1, 1234567890123456789))
        os.utime(top + "/deep", ns=(1, 987654321987654321))
        done = a.tern("share", top, tree.file("alone.bin", 2 * MEGA), "--to", "b")
        for sentence in ("out of what is shared", "a pipe", "verified"):
            check(sentence in done.stderr, lambda: f"not said: {sentence}: {done.stderr}")
        for gone in ("/out", "/deep/out too", "/pipe"):
            os.unlink(top + gone)
        os.utime(top, ns=(1, os.stat(inbox_of(b) + "/tree").st_mtime_ns))
        os.utime(top + "/deep", ns=(1, 987654321987654321))
        check_same(top, b)
        check_same(tree.path + "/alone.bin", b)
        blocks = os.stat(inbox_of(b) + "/tree/sparse").st_blocks * 512
        check(blocks < 10 * MEGA, f"the hole takes {blocks} bytes")
        check(stages(b) == [], lambda: f"left behind: {stages(b)}")
        # Again, and beside something of that name that was there.
        again = a.json("share", top, tree.path + "/alone.bin", "--to", "b")
        names = [item["name"] for item in again["items"]]
        check(names == ["tree (2)", "alone (2).bin"], f"names: {names}")
        check(arrived(b) == ["alone (2).bin", "alone.bin", "tree", "tree (2)"], f"{arrived(b)}")
        check_same(tree.path + "/alone.bin", b, "alone (2).bin")
        states = {item["state"] for item in b.json("inbox")["items"]}
        check(states == {"arrived"}, f"the inbox shows {states}")
        # Without a name it goes to one of the two; nothing to the node itself.
        report = a.json("share", tree.path + "/alone.bin")
        check(report["to_name"] in ("b", "c"), f"{report}")
        check(a.tern("share", top, "--to", "a", ok=False).returncode == 1, "a node shares with itself")


def the_least_loaded():
    """it goes to whom the least is asked of; nobody idle: exit 6, unless one is named"""
    with Mesh(["a", "b", "c"], root_jobs=False) as mesh:
        a = mesh["a"]
        path = Tree(mesh).file("file", 1000)
        jobs = []

        def is_plus(name):
            return any(n["name"] == name and n["trit"] == 1 for n in a.status()["nodes"])

        def keep_busy(host):
            for _ in range(3):
                jobs.append((host, host.run("/bin/sh", "-c", "while :; do :; done")))
            wait_for(f"{host.name} to be PLUS", lambda: is_plus(host.name))

        keep_busy(mesh["b"])
        report = a.json("share", path)
        check(report["to_name"] == "c", f"it went to {report['to_name']}")
        trial = a.json("share", path, "--dry-run")
        check(trial["to_name"] == "c" and not trial["waits"], f"{trial}")
        check(arrived(mesh["c"]) == ["file"], "a dry run sent something")
        keep_busy(mesh["c"])
        none = a.tern("share", path, ok=False)
        check(none.returncode == 6, f"exit {none.returncode}: {none.stderr}")
        check("No idle peers available" in none.stderr, none.stderr)
        a.tern("share", path, "--to", "b")
        check(arrived(mesh["b"]) == ["file"], "it did not go to the one that was named")
        for host, job in jobs:
            host.tern("kill", job, "KILL", ok=False)


def consent():
    """a node that asks waits for its person, one that says no is left alone"""
    def policies(mesh):
        mesh["b"].options = ["--share", "ask"]
        with open(mesh["c"].state + "/tern.toml", "w", encoding="ascii") as file:
            file.write('share = "no"\n')

    with Mesh(["a", "b", "c"], before_start=policies) as mesh:
        a, b, c = mesh.hosts
        path = Tree(mesh).file("file", MEGA)
        check(b.json("policy")["share"] == "ask" and c.json("policy")["share"] == "no", "policies")
        named = a.tern("share", path, "--to", "c", ok=False)
        check(named.returncode == 5 and "policy" in named.stderr, f"{named.returncode}: {named.stderr}")
        trial = a.json("share", path, "--dry-run")
        check(trial["to_name"] == "b" and trial["waits"], f"{trial}")
        check(stages(b) == [], "a dry run was kept")

        def waiting():
            return [i for i in b.json("inbox")["items"] if i["state"] == "waiting"]

        sharing = Sharing(a, path)  # c says no, b asks: it waits there
        offer = wait_for("the offer", waiting)[0]
        check(offer["name"] == "file" and offer["from"] == "a" and offer["bytes"] == MEGA, f"{offer}")
        check(arrived(b) == [], "it came before somebody said yes")
        b.tern("inbox", "accept", offer["id"])
        check(sharing.ends_well()["to_name"] == "b", "it went elsewhere")
        check_same(path, b)
        # Refused: told so, and nothing is kept.
        sharing = Sharing(a, path)
        b.tern("inbox", "refuse", wait_for("the offer", waiting)[0]["id"][:5])
        code, _, err = sharing.wait()
        check(code == 6 and "refused" in err, f"exit {code}: {err}")
        check(stages(b) == [] and arrived(b) == ["file"], "something was kept of it")
        # A yes counts also when the sender has gone, and over a restart.
        sharing = Sharing(a, path, "--to", "b")
        offer = wait_for("the offer", waiting)[0]
        sharing.process.send_signal(signal.SIGINT)
        check(sharing.wait()[0] == 130, "Ctrl-C")
        b.restart()
        check([i["id"] for i in waiting()] == [offer["id"]], "the offer is forgotten")
        b.tern("inbox", "accept", offer["id"])
        mesh.wait_alive()
        check(a.json("share", path, "--to", "b")["items"][0]["name"] == "file (2)", "its name")
        check(b.tern("inbox", "accept", "ffff", ok=False).returncode == 1, "an unknown offer")
        # Who waits for a yes goes on waiting when the own daemon is another one.
        for name, to in (("again", ["--to", "b"]), ("whoever takes it", [])):
            again = Tree(mesh).file(name, MEGA)
            sharing = Sharing(a, again, *to)
            wait_for("the offer", waiting)
            a.kill_daemon()
            a.start()
            mesh.wait_alive()
            offers = wait_for("the offer", waiting)
            check(len(offers) == 1, f"it was offered {len(offers)} times")
            b.tern("inbox", "accept", offers[0]["id"])
            sharing.ends_well()
            check_same(again, b)


def as_whoever_asks():
    """a user shares what she may read, and nothing else; the inbox is its owner's"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        tree = Tree(mesh)
        secret, own = tree.file("secret", 10), tree.file("own", 10)
        os.chmod(secret, 0o600)
        os.chown(own, 65534, 65534)

        def as_nobody(*arguments):
            return subprocess.run([tern_binary(), arguments[0], "--state", a.state, *arguments[1:]],
                                  capture_output=True, text=True, user=65534, group=65534,
                                  extra_groups=[], check=False, timeout=60)
        refused = as_nobody("share", secret, "--to", "b")
        check(refused.returncode == 1 and "ermission" in refused.stderr, refused.stderr)
        done = as_nobody("share", own, "--to", "b")
        check(done.returncode == 0, done.stderr)
        check(arrived(b) == ["own"], f"{arrived(b)}")
        check(as_nobody("inbox").returncode == 5, "anybody may look into root's inbox")


# ---- breaks


def slow(mesh, host):
    """Whether what this host sends takes its time now."""
    if not mesh.slow_down(host, SLOW_MEGABITS):
        leave_out("breaks in the middle: tc cannot slow a link down")
        return False
    return True


def killed_on_the_way():
    """kill -9 of the receiver's daemon, then of the sender's: the same command goes on by itself"""
    with Mesh(["a", "b", "c"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        if not slow(mesh, a):
            return
        tree = Tree(mesh)
        top = os.path.join(tree.path, "tree")
        tree.file("tree/big", 40 * MEGA)
        for i in range(200):
            tree.file(f"tree/small/{i}", 100 + i)
        sharing = Sharing(a, top, "--to", "b")
        until_under_way(b, 5 * MEGA)
        b.kill_daemon()
        there = b.start() and staged(b)
        until_under_way(b, there + 4 * MEGA)
        check(sharing.process.poll() is None, "tern share did not wait")
        a.kill_daemon()
        check(arrived(b) == [], "half of it arrived")
        a.start()
        if not slow(mesh, a):
            return
        report = sharing.ends_well()
        check(report["resumed_bytes"] > 8 * MEGA, f"it began again: {report}")
        check_same(top, b)
        check(stages(b) == [], lambda: f"left behind: {stages(b)}")


def connection_reset():
    """the connection is reset in the middle: it goes on over a new one"""
    if shutil.which("nft") is None:
        return leave_out("a reset connection: nft is missing")
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        if not slow(mesh, a):
            return None
        path = Tree(mesh).file("big", 25 * MEGA)

        def nft(command):
            done = subprocess.run(["ip", "netns", "exec", b.netns, "nft", "-f", "-"], input=command,
                                  capture_output=True, text=True, check=False)
            return done.returncode == 0
        sharing = Sharing(a, path, "--to", "b")
        until_under_way(b, 5 * MEGA)
        if not nft("table inet t { chain i { type filter hook input priority 0; "
                   "ip protocol tcp reject with tcp reset; }; }"):
            sharing.process.kill()
            return leave_out("a reset connection: this kernel has no nftables")
        wait_for("the share to break", lambda: "share_failed" in a.log_tail(200))
        nft("delete table inet t")
        report = sharing.ends_well()
        check(report["resumed_bytes"] > 4 * MEGA, f"it began again: {report}")
        check_same(path, b)
        check(arrived(b) == ["big"] and stages(b) == [], f"{arrived(b)}, {stages(b)}")
        return None


def many_kills():
    """either daemon killed at random moments, again and again: all of it arrives, once"""
    seed = int(os.environ.get("TERN_E2E_SEED", random.randrange(1 << 30)))
    kills = 60 if os.environ.get("TERN_E2E_ALL") == "1" else 6
    draw = random.Random(seed)
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        tree = Tree(mesh)
        count = 0
        for number in range(kills):
            top = os.path.join(tree.path, f"tree{number}")
            total = draw.choice([2, 4, 8]) * MEGA
            tree.file(f"tree{number}/big", total)
            for i in range(100):
                tree.file(f"tree{number}/small/{i}", draw.randrange(5000))
            if not slow(mesh, a):
                return None
            sharing = Sharing(a, top, "--to", "b")
            at = draw.randrange(total + 200000)
            wait_for("the moment", lambda: staged(b) >= at or sharing.process.poll() is not None
                     or f"tree{number}" in arrived(b), every=0.002)
            victim = draw.choice([a, b])
            victim.kill_daemon()
            victim.start()
            count += sharing.ends_well()["resumed_bytes"] > 0
            check_same(top, b)
            there = sorted(f"tree{n}" for n in range(number + 1))
            check(arrived(b) == there, f"seed {seed}: {arrived(b)}")
            wait_for("nothing to be left behind", lambda: stages(b) == [])
        return f"seed {seed}, {kills} kills, {count} gone on with"


def interrupted():
    """Ctrl-C, and the same command again goes on where it was, at the same peer"""
    with Mesh(["a", "b", "c"]) as mesh:
        a = mesh["a"]
        if not slow(mesh, a):
            return
        path = Tree(mesh).file("big", 30 * MEGA)
        sharing = Sharing(a, path)
        to = wait_for("somebody to have a part", lambda: next(
            (h for h in (mesh["b"], mesh["c"]) if staged(h) > 6 * MEGA), None), every=0.01)
        sharing.process.send_signal(signal.SIGINT)
        code, _, err = sharing.wait()
        check(code == 130 and "goes on" in err, f"exit {code}: {err}")
        check(arrived(to) == [], "half of it arrived")
        items = to.json("inbox")["items"]
        check([i["state"] for i in items] in (["incomplete"], ["arriving"]), f"{items}")
        report = a.json("share", path)
        check(report["to_name"] == to.name, f"it went to {report['to_name']}, not to {to.name}")
        check(report["resumed_bytes"] > 4 * MEGA, f"it began again: {report}")
        check_same(path, to)


def source_goes():
    """what vanishes or changes while it is sent does not arrive, and is said; the rest does"""
    with Mesh(["a", "b"]) as mesh:
        a, b = mesh["a"], mesh["b"]
        if not slow(mesh, a):
            return
        tree = Tree(mesh)
        first, second = tree.file("first", 15 * MEGA), tree.file("second", 1000)
        sharing = Sharing(a, first, second, "--to", "b")
        until_under_way(b)
        os.unlink(second)
        code, report, err = sharing.wait()
        check(code == 1 and "vanished" in err, f"exit {code}: {err}")
        check([i["arrived"] for i in report["items"]] == [True, False], f"{report}")
        check(arrived(b) == ["first"], f"{arrived(b)}")
        folder = os.path.join(tree.path, "folder")
        tree.file("folder/a", 5000)
        growing = tree.file("folder/b", 15 * MEGA)
        sharing = Sharing(a, folder, "--to", "b")
        until_under_way(b)
        with open(growing, "ab") as file:
            file.write(b"more")
        code, report, err = sharing.wait()
        check(code == 1 and "changed" in err, f"exit {code}: {err}")
        check(arrived(b) == ["first"], f"a half folder arrived: {arrived(b)}")
        report = a.json("share", folder, "--to", "b")
        check(report["resumed_bytes"] >= 5000, f"it began again: {report}")
        check_same(folder, b)


def disk_full():
    """a full disk is said before anything is sent, or when it happens; nothing is left of it"""
    def small(mesh):
        inbox = mesh["b"].state + "/inbox"
        mesh["b"].setup = f"mkdir -p {inbox} && mount -t tmpfs -o size=40m,mode=700 tmpfs {inbox}"

    with Mesh(["a", "b"], before_start=small) as mesh:
        a, b = mesh["a"], mesh["b"]
        tree = Tree(mesh)
        large = tree.file("large", 50 * MEGA)
        before = a.tern("share", large, "--to", "b", ok=False)
        check(before.returncode == 5 and "are free" in before.stderr,
              f"exit {before.returncode}: {before.stderr}")
        check(stages(b) == [], "something was kept of it")
        if not slow(mesh, a):
            return
        fits = tree.file("fits", 30 * MEGA)
        sharing = Sharing(a, fits, "--to", "b")
        until_under_way(b)
        with open(inbox_of(b) + "/other", "wb") as file:
            for _ in range(40):
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, (40 - _) * MEGA)
                    break
        code, _, err = sharing.wait()
        check(code == 1 and "disk is full" in err, f"exit {code}: {err}")
        wait_for("its part to be removed", lambda: stages(b) == [])
        check(arrived(b) == ["other"], f"{arrived(b)}")
        os.unlink(inbox_of(b) + "/other")
        a.json("share", fits, "--to", "b", seconds=120)
        check_same(fits, b)


if __name__ == "__main__":
    sys.exit(run_tests([whole_trees, the_least_loaded, consent, as_whoever_asks, killed_on_the_way,
                        connection_reset, many_kills, interrupted, source_goes, disk_full], sys.argv[1:], seconds=600))
