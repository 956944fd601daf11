#!/usr/bin/env python3
"""Records a program that makes code and threads without end, for long, and prints what pyspy takes meanwhile.

    tests/soak/soak.py [--pyspy PATH] [--python PATH] [--minutes 60] [--rate 1000] [--command record|top] [--padding 0]

All that a program makes goes into the profile of `record` until that has the size that it may have. Where the program
is slow, for others compute too, --padding makes the names of its functions longer, so that it has that size in the
first sixth.
A line a minute: resident memory, its peak, open descriptors, threads of pyspy. At the end: whether, after the first
sixth of the time, the most memory in the last third of the rest was within a tenth of that in the first, and the least
number of descriptors no higher; and whether pyspy ended as it should, with its file.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = """
import sys, threading, time
padding = "n" * int(sys.argv[1])
def body(value):
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end:
        value += 1
    return value
print("ready", flush=True)
number = 0
while True:
    number += 1
    scope = {"body": body}
    name = f"made_{number}{padding}"
    exec(compile(f"def {name}(x):\\n    return body(x)\\n", f"made_{number}.py", "exec"), scope)
    thread = threading.Thread(target=scope[name], args=(number,), name=f"thread {number}")
    thread.start()
    thread.join()
"""


def taken(pid):
    fields = {}
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields[name] = value.split()[:1]
    numbers = [int(fields[name][0]) for name in ("VmRSS", "VmHWM", "Threads")]
    return numbers[0], numbers[1], len(os.listdir(f"/proc/{pid}/fd")), numbers[2]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(here, "..", "..", "target", "release", "pyspy"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--padding", type=int, default=0, help="characters added to each function's name")
    parser.add_argument("--command", choices=["record", "top"], default="record")
    options = parser.parse_args()
    target = subprocess.Popen([options.python, "-c", PROGRAM, str(options.padding)], stdout=subprocess.PIPE)
    target.stdout.readline()
    output = tempfile.NamedTemporaryFile(suffix=".txt")
    arguments = ["-r", str(options.rate), "-p", str(target.pid)]
    if options.command == "record":
        arguments += ["-o", output.name, "-f", "raw"]
    else:
        arguments += ["--json"]
    command = [options.pyspy, options.command, *arguments]
    pyspy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        started, rows = time.monotonic(), []
        while time.monotonic() < started + 60 * options.minutes:
            time.sleep(min(60, 60 * options.minutes / 12))
            if pyspy.poll() is not None:
                sys.exit(f"{command[1]} ended with status {pyspy.returncode}")
            rows.append((time.monotonic() - started, *taken(pyspy.pid)))
            minutes, (resident, peak, descriptors, threads) = rows[-1][0] / 60, rows[-1][1:]
            print(f"{minutes:6.1f} min  {resident / 1024:7.1f} MiB  peak {peak / 1024:7.1f}  "
                  f"descriptors {descriptors}  threads {threads}", flush=True)
        later = [row for row in rows if row[0] >= 10 * options.minutes]
        # A profile at its bound is joined to less, and grows again; each thread of the target has a descriptor while
        # it lives: the most memory of many looks compares, and the fewest descriptors.
        third = max(len(later) // 3, 1)
        parts = later[:third], later[-third:]
        memory = [max(row[1] for row in part) for part in parts]
        descriptors = [min(row[3] for row in part) for part in parts]
        is_steady = memory[1] <= memory[0] * 1.1 and descriptors[1] <= descriptors[0]
        print("steady" if is_steady else "GROWN", f"{memory[0] / 1024:.1f} -> {memory[1] / 1024:.1f} MiB at most,",
              f"descriptors at least {descriptors[0]} -> {descriptors[1]}")
        pyspy.send_signal(signal.SIGINT)
        # What is as true of its end: 130 is that of `top`.
        status = pyspy.wait(60)
        is_whole = status == (0 if options.command == "record" else 130)
        if options.command == "record":
            with open(output.name, "rb") as file:
                is_whole &= bool(file.read(1))
        print(f"ended with status {status}", "" if is_whole else "WITHOUT ITS FILE")
        is_steady &= is_whole
    finally:
        for process in (pyspy, target):
            process.kill()
            process.wait()
    sys.exit(not is_steady)


if __name__ == "__main__":
    main()
