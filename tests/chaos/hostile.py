#!/usr/bin/env python3
"""Runs every command on programs that were made to hurt a profiler, and prints a table of what it took.

    tests/chaos/hostile.py [--pyspy PATH] [--python PATH] [--seconds 30] [--memory 100] [KIND ...]

The programs are those of hostile_targets.py. For each of them `record` and `top` run for so many seconds, then `dump`
with all variables and tasks, as text and as JSON. A row is bad when the command takes more than so many MB at its
peak, ends more than five seconds after its duration, prints more than 64 MB or nothing, ends with an undocumented
status, or prints a control character other than the ends of lines, or one that turns the direction of text. Beside the
seconds beyond its duration are those that it had a CPU: on a busy machine only they say what the command is to blame
for. The ring in which the kernel's samples come is mapped twice, one behind the other, and counts once. The kind
`greenlets` needs the package greenlet; without it a line says that it is skipped.
"""

import argparse
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = os.path.join(HERE, "hostile_targets.py")
KINDS = ["line_tables", "names", "cycles", "deep_types", "huge_dicts", "tasks", "greenlets"]
# Seconds beyond its duration that a command may take, and bytes that it may print.
PATIENCE, MOST_PRINTED = 5, 64 << 20


def acts(character):
    """Whether a terminal acts on it, or it changes in which order the others are shown."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in "\u061c\u200e\u200f" or (
        "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069")


def faults_of(path, is_json, has_lines):
    """What is wrong with what a command has printed, and how many bytes it is. In a process of its own: the kernel
    counts what starts a process as that process's peak of memory, until it executes its program."""
    with open(path, "rb") as file:
        text = file.read()
    faults = []
    if len(text) > MOST_PRINTED or not text:
        faults.append("output")
    raw = sorted(one for one in set(text.decode()) if one != "\n" and acts(one))
    if raw:
        faults.append(f"raw {raw[:3]}")
    if is_json:
        try:
            for line in text.splitlines() if has_lines else [text]:
                json.loads(line)
        except ValueError:
            faults.append("no JSON")
    return faults, len(text)


class Run:
    """One command, from its start to its end."""

    def __init__(self, options, command, arguments, duration=0, output=None):
        self.command, self.duration = command, duration
        self.printed = tempfile.NamedTemporaryFile()
        self.output = output or self.printed.name
        self.started = time.monotonic()
        environment = {**os.environ, "NO_COLOR": "1"}
        self.process = subprocess.Popen([options.pyspy, *map(str, arguments)], stdout=self.printed,
                                        stderr=subprocess.DEVNULL, env=environment)
        self.ring_kb = 0
        threading.Timer(duration / 2, self.look_at_ring).start()
        self.timer = threading.Timer(duration, lambda: self.process.send_signal(signal.SIGINT))
        if command.startswith("top"):
            self.timer.start()

    def look_at_ring(self):
        """Takes note of how much of what it has is a ring of the kernel."""
        try:
            with open(f"/proc/{self.process.pid}/smaps", encoding="utf-8", errors="replace") as file:
                is_ring = False
                for line in file:
                    if "-" in line.split(":")[0]:
                        is_ring = "bpf-map" in line
                    elif is_ring and line.startswith("Rss:"):
                        self.ring_kb += int(line.split()[1])
        except OSError:
            pass

    def row(self, options, kind, reader):
        """Waits for it; whether it was good."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.timer.cancel()
        beyond = time.monotonic() - self.started - self.duration
        is_top = self.command.startswith("top")
        faults, length = reader.submit(faults_of, self.output, "json" in self.command, is_top).result()
        # `top` says that it was interrupted.
        if self.process.returncode not in ((0, 130) if is_top else (0,)):
            faults.append(f"status {self.process.returncode}")
        memory_kb = usage.ru_maxrss - self.ring_kb // 2
        if memory_kb > options.memory * 1000:
            faults.append("memory")
        if beyond > PATIENCE:
            faults.append("time")
        on_cpu = usage.ru_utime + usage.ru_stime
        print(f"{kind:13}{self.command:17}{memory_kb / 1000:8.1f}{beyond:9.2f}{on_cpu:9.2f}{length / 1e6:9.2f}  "
              f"{', '.join(faults) or 'good'}", flush=True)
        return not faults


def runs_of(kind, options, folder, reader):
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
        results = [run.row(options, kind, reader) for run in both]
        for command in (["dump"], ["dump", "-l"], ["dump", "-lll"], ["dump", "-ll", "--json"]):
            arguments = [*command, "--all-tasks", "--pid", pid]
            results.append(Run(options, " ".join(command), arguments).row(options, kind, reader))
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
    print(f"{'program':13}{'command':17}{'MB':>8}{'s beyond':>9}{'s on CPU':>9}{'MB out':>9}")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(1) as reader:
        good = [runs_of(kind, options, folder, reader) for kind in options.kinds or KINDS]
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
