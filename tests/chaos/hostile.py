#!/usr/bin/env python3
"""Runs every command on programs that were made to hurt a profiler, and prints a table of what it took.

    tests/chaos/hostile.py [--pyspy PATH] [--python PATH] [--seconds 30] [--memory 100] [KIND ...]

The programs are those of hostile_targets.py. For each of them `record` and `top` run for so many seconds, then `dump`
with all variables and tasks, as text and as JSON. A row is bad when the command takes more than so many MB at its
peak, ends more than five seconds after its duration, prints more than 64 MB or nothing, ends with an undocumented
status, or prints a control character other than the ends of lines. The kind `greenlets` needs the package greenlet;
without it a line says that it is skipped.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = os.path.join(HERE, "hostile_targets.py")
KINDS = ["line_tables", "names", "cycles", "deep_types", "huge_dicts", "tasks", "greenlets"]
# Seconds beyond its duration that a command may take, and bytes that it may print.
PATIENCE, MOST_PRINTED = 5, 64 << 20
ALLOWED = {*range(0x20, 0x7F), *range(0x80, 0x100), ord("\n")}


class Run:
    """One command, from its start to its end."""

    def __init__(self, options, command, arguments, duration=0, output=None):
        self.command, self.duration, self.output = command, duration, output
        self.printed = tempfile.TemporaryFile()
        self.started = time.monotonic()
        environment = {**os.environ, "NO_COLOR": "1"}
        self.process = subprocess.Popen([options.pyspy, *map(str, arguments)], stdout=self.printed,
                                        stderr=subprocess.DEVNULL, env=environment)
        self.timer = threading.Timer(duration, lambda: self.process.send_signal(signal.SIGINT))
        if command.startswith("top"):
            self.timer.start()

    def row(self, options, kind):
        """Waits for it; whether it was good."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.timer.cancel()
        beyond = time.monotonic() - self.started - self.duration
        if self.output:
            with open(self.output, "rb") as file:
                text = file.read()
        else:
            self.printed.seek(0)
            text = self.printed.read()
        faults = []
        # `top` says that it was interrupted.
        if self.process.returncode not in ((0, 130) if self.command.startswith("top") else (0,)):
            faults.append(f"status {self.process.returncode}")
        if usage.ru_maxrss > options.memory * 1000:
            faults.append("memory")
        if beyond > PATIENCE:
            faults.append("time")
        if len(text) > MOST_PRINTED or not text:
            faults.append("output")
        if set(text) - ALLOWED:
            faults.append(f"raw {sorted(set(text) - ALLOWED)[:3]}")
        text.decode()
        if "json" in self.command:
            try:
                for line in text.splitlines() if self.command.startswith("top") else [text]:
                    json.loads(line)
            except ValueError:
                faults.append("no JSON")
        print(f"{kind:13}{self.command:17}{usage.ru_maxrss / 1000:8.1f}{beyond:9.2f}{len(text) / 1e6:9.2f}  "
              f"{', '.join(faults) or 'good'}", flush=True)
        return not faults


def runs_of(kind, options, folder):
    """Whether all commands were good on a program."""
    target = subprocess.Popen([options.python, TARGETS, kind], stdout=subprocess.PIPE)
    try:
        if target.stdout.readline() != b"ready\n":
            print(f"{kind:13}skipped: the program did not start")
            return True
        pid, seconds, output = target.pid, options.seconds, os.path.join(folder, f"{kind}.txt")
        both = [Run(options, "record", ["record", "-r", 200, "-d", seconds, "-f", "raw", "-o", output, "-p", pid],
                    seconds, output),
                Run(options, "top --json", ["top", "--json", "-p", pid], seconds)]
        results = [run.row(options, kind) for run in both]
        for command in (["dump"], ["dump", "-l"], ["dump", "-lll"], ["dump", "-ll", "--json"]):
            arguments = [*command, "--all-tasks", "--pid", pid]
            results.append(Run(options, " ".join(command), arguments).row(options, kind))
        return all(results)
    finally:
        target.kill()
        target.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(HERE, "..", "..", "target", "release", "pyspy"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--memory", type=float, default=100)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    options = parser.parse_args()
    unknown = set(options.kinds) - set(KINDS)
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    print(f"{'program':13}{'command':17}{'MB':>8}{'s beyond':>9}{'MB out':>9}")
    with tempfile.TemporaryDirectory() as folder:
        good = [runs_of(kind, options, folder) for kind in options.kinds or KINDS]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
