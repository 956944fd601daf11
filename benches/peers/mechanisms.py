#!/usr/bin/env python3
"""Measures what each mechanism of the proof is worth: builds with and without it, by turns on the same programs.

    benches/peers/mechanisms.py --variant all=PATH --variant 'no doubt=PATH' ... [--sampler reader] [--json FILE]

A variant is a build of pyspy; `NAME=PATH,VARIABLE=VALUE` runs it with an environment variable, for a build that can
leave out several mechanisms. The first one is the one that the others are compared with. Counted are, over programs
whose stacks are known (tests/targets: chains, small_calls, fib), over versions, and with `--load` also beside as many
busy processes:

    impossible  stacks that the program cannot have had, by names and lines
    bias        the largest difference of a function's share of the samples from its share when every sample is a stop
    CPU         of the sampler, user and system, a sample; its start-up is part of it, and the same for all
    stops       by the sampler's own count: threads that it stopped, of 100 samples
"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import measure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TARGETS = os.path.join(ROOT, "tests", "targets")
FIB_DEPTH = 21
Variant = collections.namedtuple("Variant", "name path environment")


def variant(text):
    name, _, rest = text.partition("=")
    path, *pairs = rest.split(",")
    # What follows the path may be lists themselves: a part without a sign belongs to the one before.
    environment = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if sign:
            environment[key] = value
        else:
            environment[list(environment)[-1]] += "," + pair
    return Variant(name, path, environment)


def call_lines(name):
    """The lines of `main` in small_calls.py by what they call."""
    with open(os.path.join(TARGETS, name), encoding="utf-8") as source:
        lines = source.read().splitlines()
    return {match[1]: index for index, line in enumerate(lines, 1) if (match := re.search(r"number = (\w+)\(", line))}


SMALL_CALLS = call_lines("small_calls.py")


def is_possible(program, stack):
    """Whether a program can have had a stack of (function, line), oldest first."""
    names = [name for name, _ in stack]
    if names[:2] != ["<module>", "main"]:
        return False
    called = names[2:]
    if program == "fib":
        return len(called) <= FIB_DEPTH and set(called) <= {"fib"}
    line = stack[1][1]
    if program == "small_calls":
        return not called or called in (["outer"], ["outer", "inner"], ["inner"]) and line == SMALL_CALLS[called[0]]
    if not called:
        return True
    match = re.fullmatch(r"c(\d)_0", called[0])
    if not match:
        return False
    chain = match[1]
    whole = ["c%s_%d" % (chain, step) for step in range(8)] + ["p" + chain]
    # `main` calls the chains one after another from its third line on.
    return called == whole[: len(called)] and line == chain_line(int(chain))


def chain_line(chain):
    return 8 * (3 + 8 * 3) + 4 + chain + 1


def read_raw(path):
    stacks = collections.Counter()
    with open(path, encoding="utf-8") as file:
        for line in file:
            frames, _, count = line.rstrip("\n").rpartition(" ")
            parts = [re.fullmatch(r"(.*) \(.*?:?(\d*)\)", frame) for frame in frames.split(";")]
            stack = tuple((part[1], int(part[2] or 0)) for part in parts if part)
            stacks[stack] += int(count)
    return stacks


def shares(stacks):
    """Of each newest function, of all samples."""
    total = sum(stacks.values()) or 1
    found = collections.Counter()
    for stack, count in stacks.items():
        found[stack[-1][0] if stack else ""] += count / total
    return found


def sample(chosen, pid, rate, seconds, folder, extra=()):
    output = os.path.join(folder, "raw")
    if os.path.exists(output):
        os.remove(output)
    command = [chosen.path, "record", "-r", str(rate), "-d", str(seconds), "-f", "raw", "-o", output, "-p", str(pid)]
    environment = {**os.environ, **chosen.environment}
    nowhere = subprocess.DEVNULL
    child = subprocess.Popen(
        [*command, *extra], stdin=nowhere, stdout=nowhere, stderr=subprocess.PIPE, env=environment
    )
    said = child.stderr.read().decode("utf-8", "replace")
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    stops = re.search(r"([\d,]+) (?:were |was )?stopped", said)
    return read_raw(output), usage.ru_utime + usage.ru_stime, int(stops[1].replace(",", "")) if stops else 0


def measure_program(options, interpreter, program, folder, log):
    target = subprocess.Popen(
        [interpreter.path, os.path.join(TARGETS, program + ".py")],
        stdout=subprocess.PIPE,
        preexec_fn=measure.die_with_parent,
    )
    results = {}
    try:
        target.stdout.readline()
        stopped, _, _ = sample(options.variant[0], target.pid, options.rate, options.seconds, folder, ["--blocking"])
        truth = shares(stopped)
        runs = collections.defaultdict(list)
        for _ in range(options.rounds):
            for chosen in options.variant:
                source = [f"--sampler={options.sampler}"] if options.sampler else []
                runs[chosen.name].append(sample(chosen, target.pid, options.rate, options.seconds, folder, source))
        for name, found in runs.items():
            stacks = sum((stacks for stacks, _, _ in found), collections.Counter())
            count = sum(stacks.values())
            wrong = [(n, stack) for stack, n in stacks.items() if not is_possible(program, stack)]
            own = shares(stacks)
            results[name] = {
                "samples": count,
                "impossible": sum(n for n, _ in wrong),
                "bias": max((abs(own[key] - truth[key]) for key in set(own) | set(truth)), default=0.0),
                "cpu_us": statistics.median(cpu * 1e6 / max(1, sum(stacks.values())) for stacks, cpu, _ in found),
                "stops": sum(stops for _, _, stops in found),
            }
            for n, stack in wrong[:2]:
                log(f"      {name}: {n} × {' > '.join(f'{function}:{line}' for function, line in stack)}")
    finally:
        target.kill()
        target.wait()
        target.stdout.close()
    return results


def main():
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", type=variant, action="append", required=True, help="NAME=PATH[,VARIABLE=VALUE]")
    places = ["~/.pyenv/versions", os.path.join(ROOT, "target", "interpreters"), "/usr/bin"]
    parser.add_argument("--interpreters", type=words, default=places, help="folders to look for interpreters in")
    parser.add_argument("--versions", type=words, default=["3.6", "3.8", "3.11", "3.13", "3.15"])
    parser.add_argument("--programs", type=words, default=["chains", "small_calls", "fib"])
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=0, help="so many busy processes beside it")
    parser.add_argument("--sampler", choices=["reader", "kernel"], help="who samples (builds without it: the reader)")
    parser.add_argument("--json", help="write the results to this file")
    options = parser.parse_args()
    log = lambda text: print(text, file=sys.stderr, flush=True)
    found = {interpreter.name: interpreter for interpreter in measure.find_interpreters(options.interpreters)}
    busy = [sys.executable, "-c", "while True: pass"]
    load = [subprocess.Popen(busy, preexec_fn=measure.die_with_parent) for _ in range(options.load)]
    results = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for version in options.versions:
                if version not in found:
                    log(f"not measured: no Python {version}")
                    continue
                for program in options.programs:
                    log(f"  Python {version}, {program}")
                    results[f"{version} {program}"] = measure_program(options, found[version], program, folder, log)
    finally:
        for process in load:
            process.kill()
            process.wait()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    print("| | samples | impossible | bias, worst | CPU a sample, mean | stops of 100 samples |")
    print("|---|---:|---:|---:|---:|---:|")
    for chosen in options.variant:
        rows = [row[chosen.name] for row in results.values()]
        total = sum(row["samples"] for row in rows) or 1
        worst = max((row["bias"] for row in rows), default=0.0)
        cpu = statistics.mean(row["cpu_us"] for row in rows) if rows else 0.0
        stops = 100 * sum(row["stops"] for row in rows) / total
        wrong = sum(row["impossible"] for row in rows)
        print(f"| {chosen.name} | {total} | {wrong} | {100 * worst:.1f} % | {cpu:.1f} µs | {stops:.1f} |")


if __name__ == "__main__":
    main()
