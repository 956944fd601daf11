#!/usr/bin/env python3
"""Runs pyspy under bad conditions again and again, and prints counts: what ended how, and what was left behind.

    tests/chaos/chaos.py [--pyspy PATH] [--python PATH] [--rounds 20] [KIND ...]

kills      pyspy is killed (SIGKILL) at a random moment: the target must run on, untraced
deaths     the target is killed at a random moment: pyspy must end with a documented status, record with a file
execs      the target executes itself without end; forks: it forks without end (record -s)
signals    the target gets a signal every millisecond: it must count each kind that was sent alone
stops      the target is stopped (SIGSTOP) and continued at random: it must be as it was left
full       the output is on a full file system (/dev/full): status 7, or a rescued recording
kernel     pyspy that samples in the kernel is killed at a random moment: nothing of it may stay there, and the target
           must run on (as root, with bpftool)
memory     pyspy runs under `ulimit -v`: it must end with a file or an error, not by a signal
threads    the target starts threads without end: status 0, the target runs on
setuid     children of the target execute a set-uid program while they are sampled: it must get its rights (as root)
scribbles  the target, of another user, overwrites its interpreter at random: a documented status, bounded memory,
           nothing printed raw (as root)
capability pyspy has CAP_SYS_PTRACE and nothing else, runs to its end or is killed (as root)
links      another user swaps links, FIFOs and files at the path of the output: nothing else is written (as root)

What needs root needs a C compiler and setpriv (util-linux) too.
"""

import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from privileged import PrivilegedKinds, end

BUSY = """
import sys, time, signal
counts = [0]
signal.signal(signal.SIGUSR1, lambda *_: counts.__setitem__(0, counts[0] + 1))
def work(n): return n if n < 2 else work(n - 1) + work(n - 2)
print("ready", flush=True)
while True: work(15)
"""
NAPS = """
import time
def work(n): return n if n < 2 else work(n - 1) + work(n - 2)
print("ready", flush=True)
while True: work(12), time.sleep(0.002)
"""
EXECS = """
import os, sys, time
end = time.monotonic() + 0.05
while time.monotonic() < end: sum(range(1000))
os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"]])
"""
FORKS = """
import os, time
while True:
    child = os.fork()
    if child == 0:
        end = time.monotonic() + 0.02
        while time.monotonic() < end: sum(range(1000))
        os._exit(0)
    os.waitpid(child, 0)
"""


THREADS = """
import threading, time
def work(n): return n if n < 2 else work(n - 1) + work(n - 2)
def live(): work(8), time.sleep(0.001)
print("ready", flush=True)
while True:
    threads = [threading.Thread(target=live) for _ in range(20)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


class Chaos(PrivilegedKinds):
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp()
        self.counts = collections.Counter()
        self.skipped = {}

    def target(self, program=BUSY):
        environment = {**os.environ, "PROGRAM": program}
        process = subprocess.Popen([self.options.python, "-c", program], env=environment, stdout=subprocess.PIPE)
        if 'print("ready"' in program:
            process.stdout.readline()
        else:
            time.sleep(0.1)
        return process

    def pyspy(self, *arguments, limit=None):
        command = [self.options.pyspy, *map(str, arguments)]
        if limit:
            command = ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh", *command]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def record(self, pid, name="a.txt", *more, limit=None, seconds=0.5):
        output = os.path.join(self.folder, name)
        if os.path.exists(output):
            os.remove(output)
        arguments = ["record", "-r", 500, "-d", seconds, "-f", "raw", "-o", output, "-p", pid, *more]
        return self.pyspy(*arguments, limit=limit), output

    def ends(self, kind, process, allowed, patience=30):
        """Counts how it has ended; what is not allowed is bad."""
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "hangs"
        self.counts[kind, f"status {status}", status in allowed] += 1

    def most(self, kind, what, value, limit):
        """Keeps the highest value."""
        for is_good in (True, False):
            value = max(value, self.counts.pop((kind, what, is_good), 0))
        self.counts[kind, what, value <= limit] = value

    def skip(self, kind, why):
        self.skipped[kind] = why

    def is_free(self, kind, target):
        """The target must run, and nobody may trace or have stopped it."""
        with open(f"/proc/{target.pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        state, tracer = fields["State"].split()[0], fields["TracerPid"].strip()
        self.counts[kind, "left alone" if tracer == "0" and state in "RS" else f"left {state} {tracer}",
                    tracer == "0" and state in "RS"] += 1

    def kills(self):
        target = self.target()
        for mode in ([], ["--blocking"], ["--native"]):
            process, _ = self.record(target.pid, "a.txt", *mode, seconds=5)
            time.sleep(random.uniform(0.05, 0.4))
            process.kill()
            process.wait()
            time.sleep(0.01)
            self.is_free("kills", target)
        end(target)

    def kernel(self):
        target = self.target(NAPS)
        for mode in (["-r", 1000], ["-r", 1000, "--native"], ["--mode", "offcpu"]):
            arguments = ["record", "--sampler=kernel", "-d", 5, "-f", "raw", "-o", os.path.join(self.folder, "a.txt")]
            process = self.pyspy(*arguments, "-p", target.pid, *mode)
            time.sleep(random.uniform(0, 0.5))
            was_loaded = bool(held_by(process.pid)["prog"])
            process.kill()
            process.wait()
            kind = "kernel " + (mode[-1] if mode[-1] != 1000 else "")
            self.counts[kind, "killed while loaded" if was_loaded else "killed before", True] += 1
            # The kernel frees them when nobody reads them any more.
            deadline = time.monotonic() + 10
            while (left := left_in_kernel()) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.counts[kind, f"left {left}" if left else "nothing stays", not left] += 1
            self.is_free(kind, target)
            before = cpu_time(target)
            deadline = time.monotonic() + 10
            while cpu_time(target) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            runs_on = cpu_time(target) > before
            self.counts[kind, "runs on" if runs_on else "stands still", runs_on] += 1
        end(target)

    def deaths(self):
        for command in ("dump", "record"):
            target = self.target()
            if command == "dump":
                process = self.pyspy("dump", "--pid", target.pid)
            else:
                process, output = self.record(target.pid, seconds=5)
            time.sleep(random.uniform(0, 0.2))
            end(target)
            self.ends(f"deaths {command}", process, (0, 3, 8))
            if command == "record" and process.returncode == 0:
                self.counts["deaths record", "a file" if os.path.exists(output) else "no file",
                            os.path.exists(output)] += 1

    def storm(self, kind, program):
        target = self.target(program)
        process, _ = self.record(target.pid, "a.txt", *(["-s"] if kind == "forks" else []))
        self.ends(kind, process, (0, 5, 8))
        end(target)

    def execs(self):
        self.storm("execs", EXECS)

    def forks(self):
        self.storm("forks", FORKS)

    def signals(self):
        target = self.target()
        process, _ = self.record(target.pid, "a.txt", "--blocking")
        while process.poll() is None:
            target.send_signal(signal.SIGUSR1)
            time.sleep(0.001)
        self.ends("signals", process, (0,))
        self.is_free("signals", target)
        end(target)

    def stops(self):
        target = self.target()
        process, _ = self.record(target.pid)
        while process.poll() is None:
            target.send_signal(random.choice((signal.SIGSTOP, signal.SIGCONT)))
            time.sleep(0.01)
        target.send_signal(signal.SIGCONT)
        time.sleep(0.01)
        self.ends("stops", process, (0,))
        self.is_free("stops", target)
        end(target)

    def full(self):
        target = self.target()
        arguments = ["record", "-d", 0.3, "-f", "flamegraph", "-o", "/dev/full", "-p", target.pid]
        self.ends("full", self.pyspy(*arguments), (7,))
        end(target)

    def threads(self):
        target = self.target(THREADS)
        for mode in (["--sampler=auto"], ["--sampler=reader"], ["--blocking"], ["--native"]):
            process, _ = self.record(target.pid, "a.txt", *mode)
            self.ends(f"threads {mode[0]}", process, (0,))
            self.is_free(f"threads {mode[0]}", target)
        self.ends("threads dump", self.pyspy("dump", "-l", "--pid", target.pid), (0,))
        self.is_free("threads dump", target)
        end(target)

    def memory(self):
        target = self.target()
        for limit in (30_000, 60_000, 90_000, 120_000, 200_000):
            process, _ = self.record(target.pid, limit=f"-v {limit}")
            self.ends("memory", process, (0, 1, 7, 101))
            self.is_free("memory", target)
        end(target)


def held_by(pid):
    """The numbers of the BPF programs and maps that a process has descriptors of."""
    held = {"prog": set(), "map": set()}
    for path in glob.glob(f"/proc/{pid}/fdinfo/*"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                for what, number in re.findall(r"^(prog|map)_id:\s*(\d+)", file.read(), re.M):
                    held[what].add(int(number))
        except OSError:
            pass
    return held


def left_in_kernel():
    """Programs and maps called as pyspy's are, of which no process has a descriptor any more."""
    names = {
        "prog": {"sample_running", "leave_cpu", "begin_block", "end_block"},
        "map": {"records", "processes", "threads", "blocks", "codes", "counters", "scratches"},
    }
    show = {what: json.loads(subprocess.check_output(["bpftool", "-j", what, "show"])) for what in names}
    held = {"prog": set(), "map": set()}
    for process in glob.glob("/proc/[0-9]*"):
        for what, numbers in held_by(os.path.basename(process)).items():
            held[what] |= numbers
    for program in show["prog"]:
        if program["id"] in held["prog"]:
            held["map"].update(program.get("map_ids", []))
    return [
        f"{what} {found.get('name')}"
        for what in names
        for found in show[what]
        if found.get("name") in names[what] and found["id"] not in held[what]
    ]


def cpu_time(process):
    """Nanoseconds for which the first thread of a process was on a CPU."""
    with open(f"/proc/{process.pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0])


def main():
    kinds = ["kills", "deaths", "execs", "forks", "signals", "stops", "full", "memory", "threads"]
    if os.geteuid() == 0 and shutil.which("bpftool"):
        kinds.insert(1, "kernel")
    if os.geteuid() == 0 and shutil.which("cc") and shutil.which("setpriv"):
        kinds += ["setuid", "scribbles", "capability", "links"]
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(here, "..", "..", "target", "release", "pyspy"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    options = parser.parse_args()
    unknown = set(options.kinds) - set(kinds)
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    chaos = Chaos(options)
    for kind in options.kinds or kinds:
        for _ in range(options.rounds):
            getattr(chaos, kind)()
    bad = 0
    for (kind, what, is_good), count in sorted(chaos.counts.items()):
        bad += 0 if is_good else count
        print(f"{kind:33}{what:22}{count:6}{'' if is_good else '  BAD'}")
    for kind, why in chaos.skipped.items():
        print(f"{kind:33}skipped: {why}")
    print(f"{bad} bad")
    shutil.rmtree(chaos.folder)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
