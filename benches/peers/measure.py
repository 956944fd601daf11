"""Runs targets and samplers, and takes the measures: CPU, memory, calls, work done by the target."""

import collections
import ctypes
import mmap
import os
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(HERE, "target.py")
PR_SET_PDEATHSIG = 1
# The recursion of `target.py`: fib(18) has so many calls at once at most.
FIB_DEPTH = 18

# The lines of `target.py` that call each chain, by its number.
with open(TARGET, encoding="utf-8") as source:
    CHAIN_LINES = {
        match[1]: index for index, line in enumerate(source, 1) if (match := re.fullmatch(r" +a(\d)\(\)\n", line))
    }

Interpreter = collections.namedtuple("Interpreter", "path version name")
Usage = collections.namedtuple("Usage", "cpu wall memory status message")
Cell = collections.namedtuple("Cell", "interpreter busy depth waiting rate mode")


def die_with_parent():
    # Where we run in the background Ctrl-C is ignored, which a child would inherit.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Target:
    """A running `target.py`."""

    def __init__(self, interpreter, busy, depth, waiting, folder):
        self.busy, self.depth = busy, depth
        self.counter = tempfile.NamedTemporaryFile(dir=folder, suffix=".counter")
        self.counter.write(bytes(8))
        self.counter.flush()
        self.counted = mmap.mmap(self.counter.fileno(), 8, access=mmap.ACCESS_READ)
        arguments = [interpreter.path, TARGET, busy, str(depth), str(waiting), self.counter.name]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.pid = int(self.process.stdout.readline())
        if busy != "idle":
            while not self.work():
                if self.process.poll() is not None:
                    raise RuntimeError(f"the target ended: {' '.join(arguments)}")
                time.sleep(0.001)

    def work(self):
        """How much it has done since its start."""
        return struct.unpack("=Q", self.counted[0:8])[0]

    def speed(self, seconds):
        """Work a second, over an interval from now."""
        work, begun = self.work(), time.monotonic()
        time.sleep(seconds)
        return (self.work() - work) / (time.monotonic() - begun)

    def impossible(self, stacks):
        """Which share of the stacks cannot have been."""
        total = sum(stacks.values())
        wrong = sum(count for stack, count in stacks.items() if not self.is_possible(stack))
        return wrong / total if total else 0.0

    def is_possible(self, stack):
        names = [name for name, _ in stack]
        if names[:1] == ["_bootstrap"]:
            return names.count("nest") == 4 and "wait" in names
        body = {"ordinary": "ordinary", "fib": "fibs", "chains": "chains", "still": "still", "idle": "idle"}[self.busy]
        base = ["<module>", "main"] + ["descend"] * (self.depth + 1) + [body]
        if names[: len(base)] != base[: len(names)]:
            return False
        rest = names[len(base) :]
        if rest == ["add"]:
            return True
        if self.busy == "fib":
            return len(rest) <= FIB_DEPTH and set(rest) <= {"fib"}
        if self.busy == "ordinary":
            return rest in ([], ["parse"], ["order"], ["order", "<lambda>"])
        if self.busy == "chains" and rest:
            number = rest[0][1:]
            line = stack[len(base) - 1][1]
            return rest == [letter + number for letter in "abc"][: len(rest)] and line == CHAIN_LINES.get(number)
        return not rest or self.busy == "idle"

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.counted.close()
        self.counter.close()


def high_water(pid):
    """The largest resident set of a process so far, in KiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def run(command, during=None):
    """Runs a command to its end; its own use of CPU (s) and memory (KiB), and what it said."""
    with tempfile.TemporaryFile() as said:
        begun = time.monotonic()
        most = [0]

        # The kernel's own figure for a child includes what it was before its exec, which is us.
        def watch():
            while child.returncode is None:
                most[0] = max(most[0], high_water(child.pid))
                time.sleep(0.02)

        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                 preexec_fn=die_with_parent)
        watcher = threading.Thread(target=watch)
        watcher.start()
        if during:
            during()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
        child.returncode = status
        watcher.join()
        said.seek(0)
        message = re.sub(r"\x1b\[[0-9;]*m", "", said.read().decode("utf-8", "replace")).replace("\r", "\n")
    return Usage(usage.ru_utime + usage.ru_stime, wall, most[0], status, message)


class Bench:
    """Measures tools on one target, in turns."""

    def __init__(self, folder, seconds, rounds, log):
        self.folder, self.seconds, self.rounds, self.log = folder, seconds, rounds, log

    def output(self):
        return os.path.join(self.folder, "profile.out")

    def once(self, tool, target, cell, seconds, waiting_too, prefix=(), during=None):
        """One run; the tool's use and what it found, or `None` with a word why."""
        output = self.output()
        if os.path.exists(output):
            os.remove(output)
        usage = run([*prefix, *tool.command(target.pid, seconds, cell.rate, cell.mode, output, waiting_too)], during)
        try:
            return usage, tool.read(output, usage.message)
        except (OSError, TypeError, IndexError, ValueError, subprocess.CalledProcessError):
            last = [line for line in usage.message.splitlines() if line.strip()][-1:]
            self.log(f"    {tool.name}: no result: {last}")
            return None

    def measure(self, tools, cell, waiting_too=False, calls=True):
        """All measures of all tools on one cell: a dictionary a tool."""
        target = Target(cell.interpreter, cell.busy, cell.depth, cell.waiting, self.folder)
        try:
            rows = {tool.name: [] for tool in tools}
            for _ in range(self.rounds):
                for tool in tools:
                    row = self.measure_once(tool, target, cell, waiting_too)
                    if row:
                        rows[tool.name].append(row)
            results = {}
            for tool in tools:
                if rows[tool.name]:
                    keys = rows[tool.name][0]
                    results[tool.name] = {key: statistics.median(row[key] for row in rows[tool.name]) for key in keys}
                    if calls:
                        results[tool.name].update(self.count_calls(tool, target, cell, waiting_too) or {})
            return results
        finally:
            target.end()

    def measure_once(self, tool, target, cell, waiting_too):
        """A short run, for the start-up, and a long one between two undisturbed intervals."""
        short = self.once(tool, target, cell, 1, waiting_too)
        if not short:
            return None
        speeds = []
        quiet = target.speed(self.seconds / 2)
        begun = lambda: (time.sleep(min(0.8, self.seconds / 2)), speeds.append(target.speed(self.seconds / 2)))
        long = self.once(tool, target, cell, 1 + self.seconds, waiting_too, during=begun)
        quiet = (quiet + target.speed(self.seconds / 2)) / 2
        if not long:
            return None
        (before, first), (after, last) = short, long
        if last.samples < 0.01 * cell.rate * self.seconds:
            self.log(f"    {tool.name}: {last.samples} samples only; it does not work with this target")
            return None
        samples = max(1, last.samples - first.samples)
        threads = 1 + cell.waiting if waiting_too or tool.takes_waiting else 1
        cpu = max(0.0, after.cpu - before.cpu) * 1e6
        start = {} if tool.counts_samples else {"start_s": before.wall - 1}
        return {
            "samples": last.samples,
            "got": samples / (cell.rate * self.seconds * threads),
            "lost": last.lost / max(1, last.lost + last.samples),
            "impossible": target.impossible(last.stacks),
            "cpu_us": cpu / samples,
            "slowdown": 1 - speeds[0] / quiet if quiet else 0.0,
            **start,
            "start_cpu_s": max(0.0, before.cpu - first.samples * cpu / 1e6 / samples),
            "memory_kib": after.memory,
        }

    def count_calls(self, tool, target, cell, waiting_too):
        """Calls that read the target's memory, their ranges and bytes, and stops, a sample: counted exactly by
        `strace`, which makes the run slower."""
        counts = []
        slow = cell._replace(rate=min(cell.rate, 100))
        for seconds in (1, 1 + self.seconds):
            trace = os.path.join(self.folder, "calls.trace")
            # The names of threads are read once a second or so, which is part of the cost.
            prefix = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=process_vm_readv,ptrace", "-e",
                      "signal=none", "-o", trace]
            try:
                got = self.once(tool, target, slow, seconds, waiting_too, prefix)
            except FileNotFoundError:
                return None
            if not got:
                return None
            calls = byte_count = stops = 0
            with open(trace, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if "process_vm_readv" in line and "resumed" not in line:
                        calls += 1
                    done = re.search(r"process_vm_readv.*= (\d+)$", line)
                    byte_count += int(done[1]) if done else 0
                    stops += "ptrace(PTRACE_INTERRUPT" in line or "ptrace(PTRACE_ATTACH" in line
            counts.append((got[1].samples, calls, byte_count, stops))
        samples = max(1, counts[1][0] - counts[0][0])
        calls, byte_count, stops = (max(0, counts[1][index] - counts[0][index]) / samples for index in (1, 2, 3))
        return {"calls": calls, "bytes": byte_count, "stops": stops}


def dump(tools, interpreter, folder, rounds):
    """CPU (ms) and time (ms) of `dump` of an idle process, from start to exit; the least of some runs."""
    target = Target(interpreter, "idle", 5, 0, folder)
    try:
        found = {}
        for _ in range(rounds):
            for tool in tools:
                if hasattr(tool, "dump"):
                    usage = run(tool.dump(target.pid))
                    if usage.status == 0:
                        found.setdefault(tool.name, []).append((usage.cpu * 1e3, usage.wall * 1e3))
        return {
            name: {"cpu_ms": min(cpu for cpu, _ in runs), "wall_ms": statistics.median(wall for _, wall in runs)}
            for name, runs in found.items()
        }
    finally:
        target.end()


def first_stop(tools, interpreter, folder, rounds):
    """Time (ms) from the start of a sampler that stops its target to its first stop, which begins its first sample:
    the medians of some runs under a `strace` that lets all other calls pass undisturbed."""
    target = Target(interpreter, "ordinary", 20, 3, folder)
    trace = os.path.join(folder, "first.trace")
    found = {}
    try:
        for _ in range(rounds):
            for tool in (tool for tool in tools if "blocking" in tool.modes and tool.supports(interpreter)):
                prefix = ["strace", "-f", "--seccomp-bpf", "-qq", "-ttt", "-e", "trace=execve,ptrace", "-e",
                          "signal=none", "-o", trace]
                run([*prefix, *tool.command(target.pid, 1, 100, "blocking", os.path.join(folder, "first.out"), False)])
                with open(trace, encoding="utf-8", errors="replace") as file:
                    calls = [line.split(None, 2) for line in file]
                first = lambda name: next(float(time) for _, time, call in calls if call.startswith(name))
                found.setdefault(tool.name, []).append((first("ptrace") - first("execve")) * 1e3)
    finally:
        target.end()
    return {name: statistics.median(times) for name, times in found.items()}


def many(tool, interpreter, processes, waiting, rate, seconds, folder):
    """CPU of one sampler of many processes, without its start-up: share of one core. They are the children of one that
    waits for them."""
    with tempfile.NamedTemporaryFile(dir=folder) as counter:
        counter.write(bytes(8))
        counter.flush()
        command = [interpreter.path, TARGET, "idle", "5", str(waiting), counter.name]
        program = "import subprocess, sys\n"
        program += "children = [subprocess.Popen(sys.argv[2:]) for _ in range(int(sys.argv[1]))]\n"
        program += "for child in children: child.wait()"
        parent = subprocess.Popen([interpreter.path, "-c", program, str(processes), *command], stdout=subprocess.PIPE,
                                  preexec_fn=start_group)
        try:
            for _ in range(processes):
                parent.stdout.readline()
            output = os.path.join(folder, "many.out")
            cpu = []
            for length in (1, 1 + seconds):
                usage = run([*tool.command(parent.pid, length, rate, "default", output, True), "--subprocesses"])
                cpu.append(usage.cpu)
            return (cpu[1] - cpu[0]) / seconds
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
            parent.stdout.close()


def start_group():
    os.setpgid(0, 0)
    die_with_parent()


def slowdown(tools, interpreter, busy, rate, rounds, folder):
    """How much slower the target is and what CPU a sample takes (µs), for every mode of every tool: a dictionary from
    "tool, mode"."""
    target = Target(interpreter, busy, 20, 0, folder)
    output = os.path.join(folder, "slowdown.out")
    modes = ((tool, mode) for tool in tools for mode in tool.modes if mode == "default" or tool.modes[mode])
    try:
        commands = {
            f"{tool.name}, {mode}": tool.command(target.pid, 60, rate, mode, output, False) for tool, mode in modes
        }
        return by_turns(target, commands, rate, rounds)
    finally:
        target.end()


def by_turns(target, commands, rate, rounds):
    """How much slower the target is beside each command (a share), and the command's CPU (µs) a sample: medians of many
    short intervals, each between two undisturbed ones, in turns."""
    found = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            quiet = target.speed(0.6)
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
            time.sleep(0.6)
            before, begun = time_on_cpu(child.pid), time.monotonic()
            speed = target.speed(1.2)
            cpu = (time_on_cpu(child.pid) - before) / (time.monotonic() - begun)
            child.send_signal(signal.SIGINT)
            child.wait()
            quiet = (quiet + target.speed(0.6)) / 2
            found[name].append((1 - speed / quiet, cpu / 1e3 / rate))
    return {name: tuple(map(statistics.median, zip(*values))) for name, values in found.items()}


def time_on_cpu(pid):
    """Of all threads of a process so far, ns."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="utf-8") as file:
            total += int(file.read().split()[0])
    return total


def floor(program, interpreter, rate, rounds, folder):
    """As `slowdown` of the ordinary target, for a program that makes only the system calls of a sample, on the target's
    CPU and on another one."""
    target = Target(interpreter, "ordinary", 20, 0, folder)
    cpus = sorted(os.sched_getaffinity(target.pid))
    places = {"on the target's CPU": cpus[0]}
    if len(cpus) > 1:
        places["on another CPU"] = cpus[-1]
    try:
        os.sched_setaffinity(target.pid, cpus[:1])
        commands = {
            f"{what}, {place}": [program, str(target.pid), str(cpu), str(rate), work]
            for work, what in [("wake", "only waking up"), ("read", "and reading"), ("stop", "and stopping, reading")]
            for place, cpu in places.items()
            if work != "stop" or cpu != cpus[0]
        }
        return by_turns(target, commands, rate, rounds)
    finally:
        target.end()


def hour(tool, interpreter, folder):
    """Memory (KiB) after a quarter and after all of the samples of an hour at 100 Hz, and how many they were."""
    target = Target(interpreter, "ordinary", 20, 16, folder)
    try:
        output = os.path.join(folder, "hour.out")
        found = []
        for seconds in (9, 36):
            usage = run(tool.command(target.pid, seconds, 10000, "default", output, False))
            found.append((tool.read(output, usage.message).samples, usage.memory))
        return found
    finally:
        target.end()


def find_interpreters(roots):
    """CPython executables below some folders, newest last, one a version."""
    probe = "import sys, platform, sysconfig; print(sys.executable, *sys.version_info[:3], end=' ')\n"
    probe += "print(platform.python_implementation(), bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    found = {}
    for root in roots:
        for folder, _, files in os.walk(os.path.expanduser(root), followlinks=True):
            if os.path.basename(folder) != "bin":
                continue
            for file in files:
                if re.fullmatch(r"python3\.\d+", file):
                    path = os.path.join(folder, file)
                    said = subprocess.run([path, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                          text=True).stdout.split()
                    if said[4:] == ["CPython", "False"]:
                        version = tuple(map(int, said[1:4]))
                        found.setdefault(version[:2], Interpreter(path, version, "%d.%d" % version[:2]))
    return [found[version] for version in sorted(found)]


