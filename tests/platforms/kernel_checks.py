"""Has pyspy sample in the kernel of the machine, and says of each assertion whether it held.

usage: python3 kernel_checks.py PYSPY INTERPRETER...

Where the kernel is older than it takes, the assertions are that this is said and that the reader does it. Every
assertion is a line: `ok`, `FAILED` or `skipped`, the interpreter, what it is about, and why not. The last line counts
them. Exits with 1 if one failed.
"""
import json
import os
import platform
import re
import subprocess
import sys

# The first release with all that the programs call (bpf_loop).
LEAST = (5, 17)
LIMIT = 120
# Of 200 to 400 that are asked for: an emulated machine may stand still for long.
LEAST_SAMPLES = 40
PROGRAM = """
import sys, threading, time, zlib
sys.setrecursionlimit(5000)
def innermost(number):
    return number * 2 + 1
def inner():
    for number in range(1000):
        innermost(number)
def outer():
    while True:
        inner()
def descend(left, function):
    return descend(left - 1, function) if left else function()
def sleeper():
    while True:
        time.sleep(0.05)
def reader():
    with open("/proc/self/maps", "rb", buffering=0) as file:
        while True:
            file.seek(0)
            while file.read(4096):
                pass
def packer():
    while True:
        zlib.compress(bytes(range(256)) * 400, 9)
what = sys.argv[1]
functions = dict(busy=[outer], deep=[lambda: descend(1000, outer)], sleeps=[sleeper], reads=[reader], packs=[packer],
                 threads=[outer] * 6, mixed=[outer, sleeper])[what]
for function in functions[1:]:
    threading.Thread(target=function, daemon=True).start()
print("ready", flush=True)
functions[0]()
"""
counts = {"ok": 0, "FAILED": 0, "skipped": 0}


def say(outcome, where, what, why=""):
    counts[outcome] += 1
    print("%-7s %s: %s%s" % (outcome, where, what, why and ": " + why), flush=True)


class Program:
    """One of the programs above, until it is left."""

    def __init__(self, interpreter, what):
        self.process = subprocess.Popen([interpreter, "-c", PROGRAM, what], stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def __enter__(self):
        return str(self.process.pid)

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class Checks:
    def __init__(self, pyspy, interpreter, has_kernel):
        self.pyspy, self.interpreter, self.has_kernel = pyspy, interpreter, has_kernel
        told = subprocess.run([interpreter, "-V"], stdout=subprocess.PIPE)
        self.where = "%s, %s" % (platform.release(), told.stdout.decode().strip())

    def record(self, pid, *options, seconds="2"):
        """The status, what was said, and stacks with their counts."""
        command = [self.pyspy, "record", "-p", pid, "-d", seconds, "-f", "raw", "-o", "/tmp/profile.txt", *options]
        if os.path.exists("/tmp/profile.txt"):
            os.remove("/tmp/profile.txt")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
        stacks = {}
        if os.path.exists("/tmp/profile.txt"):
            with open("/tmp/profile.txt", encoding="utf-8") as file:
                for line in file:
                    stack, _, count = line.rstrip("\n").rpartition(" ")
                    stacks[stack] = stacks.get(stack, 0) + int(count)
        return done.returncode, done.stderr.decode(), stacks

    def check(self, name, what, method):
        """Without the kernel only that the reader does it."""
        try:
            with Program(self.interpreter, what) as pid:
                problem = method(self, pid)
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as error:
            problem = repr(error)
        say("FAILED" if problem else "ok", self.where, name, problem or "")


def stacks_of_outer(stacks):
    """What is wrong with the stacks of threads that run `outer`, if anything."""
    names = [re.sub(r" \([^;]*", "", stack).split(";") for stack in stacks]
    wrong = [stack for stack in names if "outer" in stack and "innermost" in stack and "inner" not in stack]
    total = sum(stacks.values())
    if wrong or total < LEAST_SAMPLES:
        return "%d samples, of them impossible: %r" % (total, wrong[:2])
    return None


def busy(checks, pid):
    status, said, stacks = checks.record(pid, "--sampler=kernel", "-r", "200")
    if status or "sampled in the kernel" not in said or "0 stopped" not in said:
        return "status %d: %s" % (status, said)
    return stacks_of_outer(stacks)


def by_default(checks, pid):
    status, said, stacks = checks.record(pid, "-r", "200")
    by_kernel = "sampled in the kernel" in said
    if status or by_kernel != checks.has_kernel:
        return "status %d: %s" % (status, said)
    return stacks_of_outer(stacks)


def native(checks, pid):
    status, said, stacks = checks.record(pid, "--native", "--sampler=kernel", "-r", "200")
    if status or "0 stopped" not in said:
        return "status %d: %s" % (status, said)
    below = [stack for stack in stacks if re.search(r"packer \(<string>:\d+\);[^;]*deflate|packer.*\(libz\.so", stack)]
    return None if below else "no native frames in %r" % list(stacks)[:3]


def native_idle(checks, pid):
    status, said, stacks = checks.record(pid, "--native", "-i", "--sampler=kernel", "-r", "100")
    found = [stack for stack in stacks if "sleeper" in stack and re.search("nanosleep|select|clock", stack)]
    if status or not found:
        return "status %d: %s %r" % (status, said, list(stacks)[:3])
    return stacks_of_outer(stacks)


def deep(checks, pid):
    status, said, stacks = checks.record(pid, "--sampler=kernel", "-r", "200")
    depths = {stack.count("descend") for stack in stacks if "outer" in stack}
    if status or depths != {1001}:
        return "status %d, depths %r: %s" % (status, depths, said)
    return None


def threads(checks, pid):
    status, said, stacks = checks.record(pid, "--sampler=kernel", "-r", "100", "-t")
    tracks = {stack.split(";")[0] for stack in stacks}
    if status or len(tracks) != 6:
        return "status %d, %d tracks: %s" % (status, len(tracks), said)
    return stacks_of_outer(stacks)


def kernel_frames(checks, pid):
    status, said, stacks = checks.record(pid, "--sampler=kernel", "--kernel-frames", "-r", "200")
    total = sum(stacks.values())
    inside = sum(count for stack, count in stacks.items() if "reader" in stack and "([kernel])" in stack)
    if status or inside < total / 4:
        return "status %d, %d of %d in the kernel: %s" % (status, inside, total, said)
    return None


def off_cpu(checks, pid):
    status, said, stacks = checks.record(pid, "--mode", "offcpu")
    asleep = sum(count for stack, count in stacks.items() if "sleeper" in stack)
    if status or not 1200000 < asleep < 2400000:
        return "status %d, %d us of 2 s: %s" % (status, asleep, said)
    return None


def top(checks, pid):
    command = [checks.pyspy, "top", "-p", pid, "--json", "--once", "--delay", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT)
    if done.returncode or b"inner" not in done.stdout:
        return "status %d: %s" % (done.returncode, done.stderr.decode())
    for line in done.stdout.splitlines():
        json.loads(line)
    return None


def refused(checks, pid):
    status, said, _ = checks.record(pid, "--sampler=kernel")
    if status == 0 or "5.17" not in said:
        return "status %d: %s" % (status, said)
    return None


def main():
    pyspy, interpreters = sys.argv[1], sys.argv[2:]
    release = tuple(int(part) for part in re.findall(r"\d+", platform.release())[:2])
    has_kernel = release >= LEAST
    for interpreter in interpreters:
        checks = Checks(pyspy, interpreter, has_kernel)
        checks.check("record by default", "busy", by_default)
        checks.check("top", "busy", top)
        if not has_kernel:
            checks.check("what is missing is said", "busy", refused)
            continue
        checks.check("record --sampler=kernel", "busy", busy)
        checks.check("--native", "packs", native)
        checks.check("--native --idle", "mixed", native_idle)
        checks.check("1,000 frames", "deep", deep)
        checks.check("six threads", "threads", threads)
        checks.check("--kernel-frames", "reads", kernel_frames)
        checks.check("--mode offcpu", "sleeps", off_cpu)
    print("%d passed, %d failed, %d skipped" % (counts["ok"], counts["FAILED"], counts["skipped"]))
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
