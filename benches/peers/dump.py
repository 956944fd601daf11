#!/usr/bin/env python3
"""Measures `dump` of a process with many waiting threads, beside py-spy's.

    benches/peers/dump.py [--pyspy PATH] [--py-spy PATH] [--python PATH] [--threads 250,1000,4000,10000]

The target is `waiting_threads.py`, in each of its kinds. The tools take their turns on one process; a number is the
median of the rounds.
    time        from the start of the command to its end, in seconds, and how much of that on a CPU: where others
                compute too, only the latter compares
    stopped     for how long the target stood still, as pyspy's own JSON says, in milliseconds
    holders     threads of which the dump says who holds what they wait for
    in rings    threads that are part of a deadlock
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import measure

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.join(HERE, "waiting_threads.py")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(ROOT, "target", "release", "pyspy"))
    parser.add_argument("--py-spy", default="py-spy")
    parser.add_argument("--python", default=sys.executable)
    numbers = lambda text: [int(number) for number in text.split(",")]
    parser.add_argument("--threads", type=numbers, default=[250, 1000, 4000, 10000])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=["lock", "queue", "ring"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120, help="of one command, in seconds")
    return parser.parse_args()


def run(command, limit):
    """Seconds, those on a CPU, and the output of a command, or in words why there are none."""
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"over {limit:.0f}"
        seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        return f"status {process.returncode}"
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output


def median_time(command, options):
    runs = [run(command, options.limit) for _ in range(options.rounds)]
    failures = [run for run in runs if isinstance(run, str)]
    if failures:
        return failures[0]
    seconds, on_cpu = (statistics.median(run[place] for run in runs) for place in range(2))
    return f"{seconds:.2f} ({on_cpu:.2f})"


def told(pid, options):
    """For how long the process was stopped in ms, threads whose holder is named, threads in rings."""
    got = run([options.pyspy, "dump", "--json", "--pid", str(pid)], options.limit)
    if isinstance(got, str):
        return "-", "-", "-"
    threads = json.loads(got[2])
    held = sum(bool((thread.get("waits_for") or {}).get("holder_thread_id")) for thread in threads)
    stopped = threads[0]["process_info"].get("stopped_us", 0) / 1000
    return f"{stopped:.0f}", held, sum(bool(thread.get("deadlocked")) for thread in threads)


def main():
    options = arguments()
    print(f"{'kind':8}{'threads':>8}{'pyspy':>16}{'py-spy':>16}{'stopped':>9}{'holders':>9}{'in rings':>9}")
    for kind in options.kinds:
        for count in options.threads:
            target = subprocess.Popen([options.python, TARGET, str(count), kind], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, preexec_fn=measure.die_with_parent)
            pid = int(target.stdout.readline())
            ours = median_time([options.pyspy, "dump", "--pid", str(pid)], options)
            theirs = median_time([options.py_spy, "dump", "--pid", str(pid)], options)
            stopped, held, ringed = told(pid, options)
            print(f"{kind:8}{count:8}{ours:>16}{theirs:>16}{stopped:>9}{held:>9}{ringed:>9}", flush=True)
            target.kill()
            target.wait()


if __name__ == "__main__":
    main()
