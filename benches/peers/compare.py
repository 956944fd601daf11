#!/usr/bin/env python3
"""Compares pyspy with other samplers on the same running programs: py-spy, austin and Python's own profiler (3.15).

Every tool takes its turn on one target within seconds of the others, over some rounds; a number is the median of its
rounds, and what matters are ratios within one run, not times across machines.

    benches/peers/compare.py --prepare       install the peers into target/peers (pip)
    benches/peers/compare.py --quick         the hot spots, in three minutes
    benches/peers/compare.py --document      everything, and docs/benchmarks.md anew

What is measured, a sample being one stack of one thread:
    got         samples, of those asked for
    lost        of those tried, by the tool's own count
    impossible  of the stacks in the output, those that the program cannot have had (see measure.py)
    CPU         of the tool, user and system, a sample, without its start-up (the difference of a long and a short run)
    calls       process_vm_readv calls a sample, exact (strace, at 100 Hz); bytes; stops of threads
    slowdown    of the target: its own count of work against the intervals before and after
    start       wall time of the shortest run beyond its duration: finding everything, and writing the file (not of a
                tool that counts samples instead of time)
    memory      the largest resident set of the tool
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import shutil
import sys
import tempfile

import measure
import report
import tools as samplers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def places():
    """The options that only say where something lies."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--pyspy", default=os.path.join(ROOT, "target", "release", "pyspy"),
                        help="the program to compare")
    parser.add_argument("--environment", default=os.path.join(ROOT, "target", "peers"),
                        help="virtual environment with the peers")
    parser.add_argument("--json", help="write all results to this file")
    return parser


def arguments():
    numbers = lambda text: [int(part) for part in text.split(",")]
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     parents=[places()], allow_abbrev=False)
    folders = ["~/.pyenv/versions", os.path.join(ROOT, "target", "interpreters"), "/usr/bin"]
    parser.add_argument("--interpreters", type=words, default=folders, help="folders to look for interpreters in")
    parser.add_argument("--tools", type=words, help="only these, such as pyspy,py-spy,austin,profiling.sampling")
    parser.add_argument("--versions", type=words, default=["3.8", "3.11", "3.13", "3.15"])
    parser.add_argument("--programs", type=words, default=["ordinary", "fib", "chains"])
    parser.add_argument("--depths", type=numbers, default=[20])
    parser.add_argument("--waiting", type=numbers, default=[0], help="numbers of waiting threads")
    parser.add_argument("--rates", type=numbers, default=[1000], help="Hz")
    parser.add_argument("--modes", type=words, default=["default"], help="of default, blocking, nonblocking")
    parser.add_argument("--idle", action="store_true", help="sample waiting threads too, not only look at them")
    parser.add_argument("--seconds", type=int, default=3, help="of a run, beyond the short one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-calls", dest="calls", action="store_false", help="do not count system calls")
    parser.add_argument("--prepare", action="store_true", help="install the peers and end")
    parser.add_argument("--quick", action="store_true", help="the hot spots only")
    parser.add_argument("--brief", action="store_true", help="with --document: the more telling half")
    parser.add_argument("--document", action="store_true", help="everything, and write docs/benchmarks.md")
    return parser.parse_args()


class Session:
    """The tools and interpreters of one run, and its results."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        interpreters = measure.find_interpreters(options.interpreters)
        self.interpreters = {interpreter.name: interpreter for interpreter in interpreters}
        self.tools, missing = samplers.find(options.pyspy, options.environment, list(self.interpreters.values()))
        if options.tools:
            self.tools = [tool for tool in self.tools if tool.name in options.tools]
        for line in missing:
            self.log(f"not measured: {line}")
        self.results = {"tables": [], "dump": None, "first_stop": None, "floor": None, "hour": None, "slowdown": None,
                        "curves": [], "about": self.about(missing)}

    def log(self, text):
        print(text, file=sys.stderr, flush=True)

    def about(self, missing):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")),
                         platform.machine())
        return {
            "date": datetime.date.today().isoformat(),
            "processor": model,
            "cores": os.cpu_count(),
            "arguments": " ".join(places().parse_known_args()[1]),
            "kernel": ".".join(platform.release().split(".")[:2]),
            "versions": [".".join(map(str, interpreter.version)) for interpreter in self.interpreters.values()],
            "missing": missing,
        }

    def table(self, version, busy, depth, waiting, rate, mode, idle=False, seconds=None, rounds=None, calls=None):
        """Measures one cell with every tool that can, and prints it."""
        interpreter = self.interpreters.get(version)
        if interpreter is None:
            self.log(f"not measured: no Python {version}")
            return {}
        options = self.options
        bench = measure.Bench(self.folder, seconds or options.seconds, rounds or options.rounds, self.log)
        cell = measure.Cell(interpreter, busy, depth, waiting, rate, mode)
        able = [tool for tool in self.tools if mode in tool.modes and tool.supports(interpreter)]
        found = bench.measure(able, cell, idle, options.calls if calls is None else calls)
        threads = f"{waiting} waiting threads{' sampled too' if idle else ''}"
        title = f"Python {version}, {busy}, depth {depth}, {threads}, {rate} Hz, {mode}"
        self.results["tables"].append({"title": title, "cell": {**cell._asdict(), "interpreter": version, "idle": idle},
                                       "rows": found})
        print(report.table(title, found), flush=True)
        return found

    def curve(self, title, unit, points, measured):
        """A curve a tool: `measured` gives for each point a dictionary from tool to number."""
        lines = {}
        for point in points:
            for name, value in measured(point).items():
                lines.setdefault(name, []).append((point, value))
        self.results["curves"].append({"title": title, "unit": unit, "lines": lines})
        print(report.curve_text(title, unit, lines), flush=True)


def quick(session):
    once = {"seconds": 2, "rounds": 1}
    session.table("3.11", "ordinary", 20, 0, 1000, "default", **once)
    session.table("3.11", "fib", 5, 0, 1000, "default", **once)
    session.table("3.11", "chains", 5, 0, 1000, "default", calls=False, **once)
    session.table("3.15", "ordinary", 20, 16, 1000, "default", **once)
    session.tools = [tool for tool in session.tools if tool.name != "py-spy"]
    session.table("3.15", "ordinary", 20, 0, 50000, "default", calls=False, **once)
    session.tools = [tool for tool in session.tools if tool.name == "pyspy"]
    session.table("3.11", "ordinary", 20, 200, 100, "default", **once)
    dumps(session, 5)


def dumps(session, rounds):
    interpreter = session.interpreters.get("3.11")
    if interpreter:
        session.results["dump"] = measure.dump(session.tools, interpreter, session.folder, rounds)
        print(report.dump(session.results["dump"]), flush=True)
        session.results["first_stop"] = measure.first_stop(session.tools, interpreter, session.folder, rounds)
        print(report.first_stop(session.results["first_stop"]), flush=True)


def slowdowns(session, rounds):
    interpreter = session.interpreters.get("3.11")
    entries = []
    programs = [("still", 1000), ("ordinary", 1000), ("fib", 1000), ("chains", 1000), ("ordinary", 100), ("fib", 100)]
    for busy, rate in programs:
        if interpreter:
            found = measure.slowdown(session.tools, interpreter, busy, rate, rounds, session.folder)
            entries.append((f"{busy}, {rate} Hz", found))
    session.results["slowdown"] = entries
    print(report.slowdown(entries), flush=True)
    if interpreter:
        program = samplers.build_bench("floor")
        session.results["floor"] = measure.floor(program, interpreter, 1000, 2 * rounds, session.folder)
        print(report.floor(session.results["floor"]), flush=True)


def everything(session):
    brief = session.options.brief
    every = session.tools
    only = lambda *names: [tool for tool in every if tool.name in names]
    pairs = list(itertools.product(session.options.versions, session.options.programs))
    if brief:
        pairs = [(version, busy) for version, busy in pairs if version in ("3.11", "3.15") or busy == "ordinary"]
    for version, busy in pairs:
        session.table(version, busy, 20, 0, 1000, "default")
    session.tools = only("pyspy", "py-spy")
    slowdowns(session, 5)
    session.table("3.11", "chains", 20, 0, 1000, "nonblocking", calls=False)
    session.tools = every
    for busy in ["ordinary", "fib"]:
        session.table("3.11", busy, 20, 0, 100, "default")
    session.tools = [tool for tool in every if tool.name != "py-spy"]
    for version, rate in [("3.11", 10000), ("3.11", 50000), ("3.15", 50000), ("3.11", 100000)]:
        if not brief or rate == 50000:
            session.table(version, "ordinary", 20, 0, rate, "default", calls=False)
            session.table(version, "still", 20, 0, rate, "default", calls=False)
    session.tools = every
    for version, waiting in itertools.product(["3.11"] if brief else ["3.11", "3.15"], [16, 200]):
        if waiting > 100:
            # py-spy takes minutes for a second of so many.
            session.tools = [tool for tool in every if tool.name != "py-spy"]
        session.table(version, "ordinary", 20, waiting, 100, "default")
        session.tools = every
    session.tools = only("pyspy", "profiling.sampling")
    session.table("3.15", "ordinary", 20, 16, 1000, "default", idle=True)
    session.tools = only("pyspy", "py-spy")
    dumps(session, 20)

    def cost(depth=20, waiting=0):
        # At a depth of 1000 py-spy takes ten times as long as it was asked to.
        short = {"seconds": 1, "rounds": 1} if depth > 200 else {}
        found = session.table("3.11", "ordinary", depth, waiting, 1000, "default", calls=False, **short)
        return {name: row["cpu_us"] for name, row in found.items()}

    session.curve("CPU a sample against depth (Python 3.11, 1000 Hz)", "µs",
                  [5, 60, 1000] if brief else [5, 20, 60, 200, 1000], lambda depth: cost(depth=depth))
    session.tools = only("pyspy")
    waiting = [0, 16, 200] if brief else [0, 4, 16, 64, 200]
    session.curve("CPU a sample against waiting threads (Python 3.11, 1000 Hz)", "µs", waiting,
                  lambda waiting: cost(waiting=waiting))
    interpreter = session.interpreters.get("3.11")
    if session.tools and interpreter:
        pyspy = session.tools[0]
        share = lambda count: {"pyspy": 100 * measure.many(pyspy, interpreter, count, 7, 100, 5, session.folder)}
        session.curve("One pyspy for many processes of 8 threads at 100 Hz (Python 3.11)", "% of a core",
                      [1, 4, 16, 64], share)
        session.results["hour"] = measure.hour(pyspy, interpreter, session.folder)
        print(report.hour(session.results["hour"]), flush=True)


def chosen(session):
    options = session.options
    cells = itertools.product(options.versions, options.programs, options.depths, options.waiting, options.rates,
                              options.modes)
    for version, busy, depth, waiting, rate, mode in cells:
        session.table(version, busy, depth, waiting, rate, mode, idle=options.idle)


def main():
    options = arguments()
    if options.prepare:
        samplers.prepare(options.environment)
        return
    options.calls = options.calls and shutil.which("strace") is not None
    with tempfile.TemporaryDirectory() as folder:
        session = Session(options, folder)
        (quick if options.quick else everything if options.document else chosen)(session)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(session.results, file, indent=1)
    if options.document:
        report.write_document(os.path.join(ROOT, "docs"), session.results)


if __name__ == "__main__":
    main()
