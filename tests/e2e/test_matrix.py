#!/usr/bin/env python3
"""Kinds of work: each moved twice while it works, with the result of a run that was not moved.

    tests/e2e/test_matrix.py [WORD...]    only rows with a WORD in their name
    TERN_E2E_MATRIX=1                     rows of other suites too, which run there anyway

What is run here prints a number for each step, so that it is seen to work before, between and after
the moves, and then is told that it is enough; its output and its files are compared with those of the
same command without tern, for as many steps. TERN is the binary, TERN_E2E_HELPERS the folder of the
jobs that are compiled.
"""

import contextlib
import glob
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import test_attached
import test_files
import test_moves
import test_terminals
from harness import (WAIT, Mesh, check, helper_binary, inside, leave_out, procs, python, read, run_tests,
                     say, tern_binary, wait_for)
from test_files import Disks, tree

EVERYTHING = os.environ.get("TERN_E2E_MATRIX") == "1" or len(sys.argv) > 1
MOVES = ("b", "a")
BETWEEN = 12  # steps, at least
PORT = 7411

# Each takes a folder, how many steps, or 0 for until there is a file of the name that comes third.
SHELL = """
dir=$1; sum=0; n=0
while if [ $2 -gt 0 ]; then [ $n -lt $2 ]; else [ ! -e "$3" ]; fi; do
  n=$((n + 1)); sum=$(( (sum * 31 + n) % 1000003 ))
  echo "$n $sum" >> "$dir/steps"; echo $n; sleep 0.02
done
echo "sum $sum"
"""
BEGIN = """
import os, sys, time
folder, steps, enough = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def more(done):
    time.sleep(0.02)
    return done < steps if steps else not os.path.exists(enough)
"""
# Files that stay open: one grows, one is rewritten in place, one both ways; another is made anew.
FILES = BEGIN + """
import random
draw = random.Random(5)
grows = open(folder + "/grows", "w", buffering=1)
place = open(folder + "/in place", "w+b")
place.truncate(1 << 20)
both = open(folder + "/both", "w+")
n = 0
while more(n):
    n += 1
    grows.write(f"{n} {draw.random()}\\n")
    place.seek(draw.randrange(1 << 20) & ~7)
    place.write(n.to_bytes(8, "big"))
    both.seek(0)
    before = both.read()
    both.seek(0)
    both.write(f"{len(before)} {n} " + before[:5000])
    with open(f"{folder}/anew.part", "w") as anew:
        anew.write(str(n))
    os.rename(f"{folder}/anew.part", f"{folder}/anew")
    print(n, flush=True)
"""
POOL = BEGIN + """
import hashlib, multiprocessing

def work(n):
    block = hashlib.sha256(str(n).encode()).digest() * 2000
    with total.get_lock():
        total.value += n
    return hashlib.sha256(block).hexdigest()

total = multiprocessing.Value("q", 0)
n = 0
with multiprocessing.get_context("fork").Pool(3) as pool:
    while more(n):
        print("digests", *pool.map(work, range(n, n + 3)), flush=True)
        n += 3
        print(n, flush=True)
print("total", total.value, flush=True)
"""
DATABASE = BEGIN + """
import sqlite3
def opened():
    base = sqlite3.connect(folder + "/base.db", isolation_level=None)
    base.execute("create table if not exists steps (n integer primary key, square integer, text)")
    return base
base, n = opened(), 0
while more(n):
    try:
        base.execute("begin immediate")
        base.execute("insert into steps select ?, ?, ? || coalesce(max(square), 0) from steps",
                     (n + 1, n * n, "x" * 300))
        base.execute("commit")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        base.close()  # it sees that its file has another inode since the move, and wants it reopened
        base = opened()
        continue
    n += 1
    print(n, flush=True)
print("sum", *base.execute("select count(*), sum(square), sum(length(text)) from steps").fetchone())
"""
# Answers with a hash over all that it was ever asked.
SERVER = """
const crypto = require('crypto'), http = require('http');
let chain = '', n = 0;
const server = http.createServer((request, answer) => {
  let body = '';
  request.on('data', (piece) => { body += piece; });
  request.on('end', () => {
    chain = crypto.createHash('sha256').update(chain + request.url + body).digest('hex');
    answer.writeHead(200, { 'Connection': 'close' });
    answer.end(chain);
    if (request.url === '/end') { server.close(); clearInterval(timer); }
  });
});
server.listen(%d, '127.0.0.1');
const timer = setInterval(() => { console.log(++n); }, 25);
""" % PORT
# Each step is a periodic timer's, which has always expired while the job was frozen. Nobody here has
# a handler of signals, so poll() ends when there is something to read, and sleep() after its time.
# The children are many, and never stopped by anybody (CLD_STOPPED).
WAITS = """
import ctypes, os, select, signal, struct, sys, threading, time
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's only handler
TICK = signal.SIGRTMIN + 2
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, TICK})
children = [os.posix_spawn("/bin/sleep", ["sleep", "3000"], {}) for _ in range(70)]
child = os.pidfd_open(children[0])
libc = ctypes.CDLL(None)
ticks = ctypes.c_void_p()
def tick():  # for a thread alone: SIGEV_THREAD_ID
    this = struct.pack("QiiI44x", 0, TICK, 4, threading.get_native_id())
    libc.timer_create(1, this, ctypes.byref(ticks))
    libc.timer_settime(ticks, 0, struct.pack("4q", 0, 20000000, 0, 20000000), None)
    while signal.sigwaitinfo({TICK}):
        global ticked
        ticked += 1
ticked = 0
threading.Thread(target=tick, daemon=True).start()
timer = libc.timerfd_create(1, 0)
libc.timerfd_settime(timer, 0, struct.pack("4q", 0, 20000000, 0, 20000000), None)
gate, opened = os.pipe()
asked = ctypes.create_string_buffer(struct.pack("ihh", gate, 1, 0))
ended = []
polls = threading.Thread(target=lambda: ended.append(("poll", libc.poll(asked, 1, -1))))
sleeps = threading.Thread(target=lambda: ended.append(("sleep", libc.sleep(3000))), daemon=True)
polls.start(); sleeps.start()
n = 0
while not os.path.exists(sys.argv[1]):
    os.read(timer, 8)
    n += 1
    print(n, flush=True)
os.write(opened, b"x")
polls.join()
told = []
while news := signal.sigtimedwait({signal.SIGCHLD}, 0):
    told.append(news.si_code)
before = ticked
deadline = time.monotonic() + 60
while ticked < before + 3 and time.monotonic() < deadline:  # one was due before the move
    time.sleep(0.02)
lived = not select.select([child], [], [], 0)[0]
for one in children:
    os.kill(one, signal.SIGKILL)
seen = select.select([child], [], [], 60)[0] == [child]
print("ended", ended, 5 in told, ticked > before + 2, lived, seen, len(sys.argv), len(sys.argv[-1]), flush=True)
os._exit(0)
"""
# Shows each key and how many there were, on a screen of its own.
KEYS = """
import curses
def main(screen):
    curses.use_default_colors()
    n, seen = 0, ""
    while True:
        screen.erase()
        screen.addstr(1, 2, f"{n} keys: {seen}")
        screen.addstr(3, 2, "size %d %d" % screen.getmaxyx())
        screen.refresh()
        key = screen.getkey()
        if key == "q":
            return
        if key != "KEY_RESIZE":
            n, seen = n + 1, seen + key
curses.wrapper(main)
print("over")
"""


# ---- what ends by itself


class Work:
    """A command with its folder: `command(folder, steps, file)`."""

    def __init__(self, mesh, command, same):
        self.mesh, self.command, self.same = mesh, command, same
        self.enough = os.path.join(mesh.dir, "enough")

    def unmoved(self, steps):
        folder = os.path.join(self.mesh.dir, "unmoved")
        os.mkdir(folder)
        done = subprocess.run(self.command(folder, str(steps), self.enough), capture_output=True,
                              timeout=WAIT * 2, text=True)
        check(done.returncode == 0, lambda: f"unmoved it failed: {done.stderr}")
        return done.stdout, self.same(folder)

    def moved(self):
        """Of a run that works before, between and after the moves, which is checked by its steps."""
        mesh, home = self.mesh, self.mesh["a"]
        folder = mesh.at("work")
        os.mkdir(mesh.disk(home, "work"))
        os.mkdir(folder)  # as the command sees it
        done = home.tern("run", "--detach", "--json", "--on", "here", "--dir", folder, "--",
                         *self.command(folder, "0", self.enough))
        self.job = json.loads(done.stdout)["job"]
        for to in MOVES:
            self.wait_steps(self.steps() + BETWEEN)
            self.move(to)
        self.wait_steps(self.steps() + BETWEEN)
        with open(self.enough, "w", encoding="ascii"):
            pass
        entry = wait_for("it to end", lambda: [e for e in home.job(self.job)
                                               if e["state"] == "exited"], WAIT * 2)[0]
        check(entry["exit_code"] == 0, lambda: f"it ended with {entry}: {home.logs(self.job)[-500:]}")
        check(entry["moves"] == len(MOVES), lambda: f"it was moved {entry['moves']} times")
        return home.logs(self.job), self.same(mesh.disk(home, "work"))

    def move(self, to):
        """In a transaction a database holds locks, which do not move: refused, and asked again."""
        def done():
            answer = self.mesh["a"].migrate(self.job, to, ok=False)
            check(isinstance(answer, dict), lambda: f"not moved: {answer.stderr.strip()}")
            return answer["outcome"] == "commit"
        wait_for(f"a move to {to}", done)
        check(self.mesh.only_copy(self.job).name == to, f"it does not run on {to}")

    def steps(self):
        return max((int(n) for n in re.findall(r"^(\d+)$", self.mesh["a"].logs(self.job), re.M)),
                   default=0)

    def wait_steps(self, goal):
        wait_for(f"step {goal}", lambda: self.steps() >= goal)


def files_of(folder):
    """What is in it, by name; directories by their name alone."""
    found = {}
    for name in tree(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def compared(command, same=files_of):
    with Disks(["a", "b"]) as mesh:
        work = Work(mesh, command, same)
        output, files = work.moved()
        wanted, wanted_files = work.unmoved(work.steps())
        check(output == wanted, lambda: f"it printed something else: {output[-200:]!r} instead of "
              f"{wanted[-200:]!r}")
        check(files == wanted_files, lambda: f"files differ: {files}, not {wanted_files}")
        wait_for("the guest's copies to go", lambda: not tree(mesh.disk(mesh["b"])))
        return f"{len(output.splitlines())} lines and {len(files)} files as unmoved"


def script(*words):
    return lambda *arguments: [*words, *arguments]


def shell():
    """a shell script that appends to a file"""
    return compared(script("/bin/bash", "-c", SHELL, "bash"))


def python_with_files():
    """Python with files open for writing: growing, in place, both ways, made anew"""
    return compared(script(python(), "-c", FILES))


def multiprocessing():
    """Python's multiprocessing: a pool of three, a lock, a shared value"""
    return compared(script(python(), "-c", POOL))


def database():
    """SQLite writes a database in --dir"""
    # Pages may lie elsewhere after it was reopened: its rows count, and that they are all.
    return compared(script(python(), "-c", DATABASE), same=lambda folder: sorted(files_of(folder)))


def threads_and_a_mapped_file():
    """C++: four threads on a mapped file"""
    return compared(script(helper_binary("e2e_mapped_threads_job")))


# ---- what is asked by others


def ask(netns, path, body):
    with inside(netns):
        line = http.client.HTTPConnection("127.0.0.1", PORT, timeout=WAIT)
        try:
            line.request("POST", path, body)
            return line.getresponse().read().decode()
        finally:
            line.close()


def node_server():
    """node.js, a server that listens, asked before, between and after"""
    if not shutil.which("node"):
        return leave_out("a server in node.js, which is not installed here")
    with Mesh(["a", "b"]) as mesh:
        asked, wanted, chain = [], [], ""
        job = test_moves.Counting(mesh, mesh["a"], shutil.which("node"), "-e", SERVER)
        for to in (None, "b", "a"):
            if to:
                move = mesh["a"].migrate(job.job, to)
                check(move["outcome"] == "commit", lambda: f"not moved: {move}")
                job.wait_further()
            host = mesh.only_copy(job.job)
            for n in range(5):
                path, body = f"/{host.name}/{n}", "x" * 1000 * n
                asked.append(wait_for("an answer", lambda p=path, b=body: ask(host.netns, p, b)))
                chain = hashlib.sha256((chain + path + body).encode()).hexdigest()
                wanted.append(chain)
        check(asked == wanted, lambda: f"answers: {asked}, not {wanted}")
        ask(mesh["a"].netns, "/end", "")
        wait_for("it to end", lambda: mesh["a"].job(job.job)[0]["state"] == "exited")
        check(mesh["a"].job(job.job)[0]["exit_code"] == 0, "it failed")
        return f"{len(asked)} answers, each over all before"


# ---- what the kernel keeps for a program that waits


RESTART_SYSCALL = "219"  # as x86_64 numbers it


def stopped_and_continued(host, job):
    """Its main process: the kernel goes on with poll() and sleep() as another call then."""
    main = max((pid for group in host.job_groups(job) for pid in procs(group)),
               key=lambda pid: len(os.listdir(f"/proc/{pid}/task")))
    os.kill(main, signal.SIGSTOP)
    wait_for("it to stop", lambda: ") T " in read(f"/proc/{main}/stat"))
    os.kill(main, signal.SIGCONT)
    wait_for("its waits to go on", lambda: [
        read(call).split(" ")[0] for call in glob.glob(f"/proc/{main}/task/*/syscall")
    ].count(RESTART_SYSCALL) == 2)


def waits():
    """timers, one of them for a thread alone, poll() and sleep() in threads, also after a stop, 70
    children and a pidfd of one, a command longer than its description"""
    with Mesh(["a", "b"]) as mesh:
        a, enough = mesh["a"], os.path.join(mesh.dir, "enough")
        more = [str(n) for n in range(1500)] + ["x" * 60000]
        job = test_moves.Counting(mesh, a, python(), "-c", WAITS, enough, *more)
        a.restart()  # reads the description again
        mesh.wait_alive()
        for here, to in zip("ab", MOVES):
            job.wait_further(BETWEEN)
            stopped_and_continued(mesh[here], job.job)
            move = a.migrate(job.job, to)
            check(move["outcome"] == "commit", lambda: f"not moved: {move}")
            check(mesh.only_copy(job.job).name == to, f"it does not run on {to}")
        job.wait_further(BETWEEN)
        with open(enough, "w", encoding="ascii"):
            pass
        wait_for("it to end", lambda: a.job(job.job)[0]["state"] == "exited")
        said = a.logs(job.job).splitlines()[-1]
        check(said == f"ended [('poll', 1)] False True True True {len(more) + 2} 60000", f"it says: {said}")
        return said


# ---- a terminal


class Screen:
    """A tmux of its own."""

    def __init__(self, mesh, *words):
        self.socket = os.path.join(mesh.dir, "tmux.sock")
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "20", *words)

    def tmux(self, *words, ok=True):
        done = subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True,
                              timeout=WAIT, env={**os.environ, "LC_ALL": "C.UTF-8"})
        check(done.returncode == 0 or not ok, lambda: f"tmux {words}: {done.stderr}")
        return done.stdout

    def shown(self):
        return self.tmux("capture-pane", "-p")

    def wait_shown(self, text):
        wait_for(f"{text!r} on the screen", lambda: text in self.shown())

    def press(self, keys):
        self.tmux("send-keys", keys)

    def close(self):
        self.tmux("kill-server", ok=False)


def tmux():
    """a program on the whole of a terminal (--tty): tmux sends keys before and after each move"""
    if not shutil.which("tmux"):
        return leave_out("a program in tmux, which is not installed here")
    with Mesh(["a", "b"]) as mesh, contextlib.ExitStack() as stack:
        a = mesh["a"]
        program = [python(), "-c", KEYS]
        screen = Screen(mesh, tern_binary(), "run", "--state", a.state, "--tty", "--name", "keys",
                        "--on", "here", "--", *program)
        stack.callback(screen.close)
        screen.wait_shown("0 keys")
        job = test_attached.job_called(a, "keys")
        screens = []
        for number, (key, to) in enumerate((("x", "b"), ("y", "a"), ("z", None)), 1):
            screen.press(key)
            screen.wait_shown(f"{number} keys")
            screens.append(screen.shown())
            if to:
                wait_for("a move", lambda to=to: isinstance(a.migrate(job, to, ok=False), dict))
        screen.press("q")
        wait_for("it to end", lambda: a.job(job)[0]["state"] == "exited")
        check(a.job(job)[0]["exit_code"] == 0, lambda: f"it ended with {a.job(job)}")
        screen.close()
        plain = Screen(mesh, *program)
        stack.callback(plain.close)
        plain.wait_shown("0 keys")
        for number, (key, there) in enumerate(zip("xyz", screens), 1):
            plain.press(key)
            plain.wait_shown(f"{number} keys")
            check(plain.shown() == there, lambda: f"the screen shows {there!r}")
        return "three screens as unmoved"


# ---- the table

OWN = [shell, python_with_files, multiprocessing, database, node_server, threads_and_a_mapped_file,
       waits, tmux]
# Rows that another suite of this folder has: (that suite, its test).
ELSEWHERE = [(test_files, test_files.a_compile), (test_attached, test_attached.sort_moved_twice),
             (test_terminals, test_terminals.a_terminal_moves)]


def rows_elsewhere():
    """rows of other suites: they are registered there"""
    for suite, test in ELSEWHERE:
        check(test in suite.TESTS, f"{suite.__name__} does not run {test.__name__}")
        say(f"  {suite.__name__}: {test.__doc__.strip().splitlines()[0]}")


if __name__ == "__main__":
    OTHERS = [test for _, test in ELSEWHERE] if EVERYTHING else []
    sys.exit(run_tests([*OWN, *OTHERS, rows_elsewhere], sys.argv[1:], seconds=400))
