#!/usr/bin/env python3
"""Measures what it costs to sample the tasks of a loop: with and without, beside Python's own profiler (3.15).

    benches/peers/tasks.py [--pyspy PATH] [--interpreters PATH,...] [--tasks 1000] [--depth 4] [--rate 100]

The target is `loop.py`. All tools take their turns on one process in one run; a number is the median of the rounds.
    CPU         of the tool, user and system, a sample, without its start-up (the difference of a long and a short run)
    calls       that read the target's memory, a sample: process_vm_readv, and reads of /proc/PID/mem, by strace
    stacks      different ones in the output; and of them those of tasks that wait
A tool that does not know an option is named with what it said, and left out.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile

import measure

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LOOP = os.path.join(HERE, "loop.py")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(ROOT, "target", "release", "pyspy"))
    folders = ["~/.pyenv/versions", os.path.join(ROOT, "target", "interpreters"), "/usr/bin"]
    parser.add_argument("--interpreters", type=lambda text: text.split(","), default=folders,
                        help="folders to look for interpreters in")
    parser.add_argument("--versions", type=lambda text: text.split(","), default=["3.11", "3.13", "3.15"])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=5, help="of a run, beyond the short one")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


class Pyspy:
    def __init__(self, program, name, options):
        self.program, self.name, self.options = program, name, options

    def command(self, pid, seconds, rate, output):
        return [self.program, "record", "-p", str(pid), "-d", str(seconds), "-r", str(rate), "-f", "raw", "-o", output,
                *self.options]

    def samples(self, message, _seconds, _rate):
        # Every task that waits counts as a sample in what it says; a sample here is a look at the process.
        took, held = re.search(r"samples in ([\d.]+) s: .* ([\d.]+) Hz held", message).groups()
        return round(float(took) * float(held))


class Standard:
    """`profiling.sampling` of the standard library: the target must be of the very version that runs it."""

    def __init__(self, python, name, options):
        self.python, self.name, self.options = python, name, options

    def command(self, pid, seconds, rate, output):
        return [self.python, "-m", "profiling.sampling", "attach", "-r", str(rate), "-d", str(seconds), "--collapsed",
                "-o", output, *self.options, str(pid)]

    def samples(self, message, _seconds, _rate):
        return int(re.search(r"Captured ([\d,]+) samples", message)[1].replace(",", ""))


def tools_for(options, interpreter):
    found = [Pyspy(options.pyspy, "pyspy" + "".join(f" {it}" for it in more), more)
             for more in ([], ["--async"], ["--async=all"])]
    if interpreter.version >= (3, 15):
        ours = [[], ["--async-aware"], ["--async-aware", "--async-mode", "all"]]
        found += [Standard(interpreter.path, "profiling.sampling" + "".join(f" {it}" for it in more), more)
                  for more in ours]
    return found


def run_once(tool, pid, seconds, options, folder, prefix=()):
    """CPU (s), samples and different stacks of one run; a text with what went wrong instead."""
    output = os.path.join(folder, "profile.out")
    if os.path.exists(output):
        os.remove(output)
    usage = measure.run([*prefix, *tool.command(pid, seconds, options.rate, output)])
    try:
        samples = tool.samples(usage.message, seconds, options.rate)
        with open(output, encoding="utf-8", errors="replace") as file:
            stacks = {line.rpartition(" ")[0] for line in file if not line.startswith("#")}
        return usage.cpu, samples, stacks
    except (OSError, TypeError):
        return next(iter(line for line in usage.message.splitlines() if line.strip()), f"status {usage.status}")


def calls(tool, pid, options, folder):
    """Calls that read the target's memory, a sample, or nothing where strace is missing."""
    counts = []
    for seconds in (1, 1 + options.seconds):
        trace = os.path.join(folder, "calls.trace")
        prefix = ["strace", "-f", "-y", "--seccomp-bpf", "-qq", "-e", "trace=process_vm_readv,pread64,preadv", "-e",
                  "signal=none", "-o", trace]
        try:
            got = run_once(tool, pid, seconds, options, folder, prefix)
        except FileNotFoundError:
            return None
        if isinstance(got, str):
            return None
        with open(trace, encoding="utf-8", errors="replace") as file:
            counted = sum(is_read(line) for line in file)
        counts.append((got[1], counted))
    return (counts[1][1] - counts[0][1]) / max(1, counts[1][0] - counts[0][0])


def is_read(line):
    return "resumed" not in line and ("process_vm_readv(" in line or "/mem>" in line)


def measure_version(options, interpreter, folder):
    target = subprocess.Popen([interpreter.path, LOOP, str(options.tasks), str(options.depth)],
                              stdout=subprocess.PIPE, preexec_fn=measure.die_with_parent)
    pid = int(target.stdout.readline())
    try:
        rows, failed = {}, {}
        tools = tools_for(options, interpreter)
        for _ in range(options.rounds):
            for tool in (tool for tool in tools if tool.name not in failed):
                short = run_once(tool, pid, 1, options, folder)
                failing = isinstance(short, str)
                long = short if failing else run_once(tool, pid, 1 + options.seconds, options, folder)
                if isinstance(long, str):
                    failed[tool.name] = long
                    continue
                samples = max(1, long[1] - short[1])
                waiting = sum("below" in stack for stack in long[2])
                row = ((long[0] - short[0]) * 1e6 / samples, len(long[2]), waiting)
                rows.setdefault(tool.name, []).append(row)
        print(f"\nPython {interpreter.name}, {options.tasks} tasks, depth {options.depth}, {options.rate} Hz")
        print(f"{'':50}{'CPU a sample':>14}{'calls a sample':>16}{'stacks':>8}{'of waiting':>12}")
        for tool in tools:
            if tool.name in failed:
                print(f"{tool.name:50} not measured: {failed[tool.name][:100]}")
                continue
            cpu, stacks, waiting = (statistics.median(row[at] for row in rows[tool.name]) for at in range(3))
            counted = calls(tool, pid, options, folder)
            shown = "no strace" if counted is None else f"{counted:.2f}"
            print(f"{tool.name:50}{cpu:11.0f} us{shown:>16}{stacks:8.0f}{waiting:12.0f}", flush=True)
    finally:
        target.kill()
        target.wait()
        target.stdout.close()


def main():
    options = arguments()
    interpreters = {found.name: found for found in measure.find_interpreters(options.interpreters)}
    with tempfile.TemporaryDirectory() as folder:
        for version in options.versions:
            if version in interpreters:
                measure_version(options, interpreters[version], folder)
            else:
                print(f"not measured: no Python {version}", file=sys.stderr)


if __name__ == "__main__":
    main()
