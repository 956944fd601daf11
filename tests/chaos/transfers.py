#!/usr/bin/env python3
"""Counts the system calls that a profiler makes end early, in a program that makes them straight from C.

    tests/chaos/transfers.py [--pyspy PATH] [--py-spy PATH] [--python PATH] [--calls 5000] [--rate 1000]

A Python thread makes so many calls, a third each of epoll_wait(2) for nothing, write(2) and recv(2) of 256 KiB that
take their time, with a little Python between them: with the GIL released meanwhile, as a C extension does, and with it
held, as one that does not. Nothing makes again what ended early. The thread is sampled all the time, where it sleeps
too; by the kernel, where that can be and nothing else is said. Needs a C compiler.
"""

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def work(library, holds_gil, calls):
    """The target: the counts of calls that ended early, when it is told to begin."""
    made = (ctypes.PyDLL if holds_gil else ctypes.CDLL)(library)
    assert made.prepare() == 0
    kinds = [made.waits, made.sends, made.receives]
    print("ready", flush=True)
    sys.stdin.readline()
    early, total = [0, 0, 0], 0
    for number in range(calls):
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            total += sum(range(10))
        early[number % 3] += kinds[number % 3]()
    print(*early, flush=True)
    sys.stdin.readline()


def measured(options, library, holds_gil, tool):
    """What ended early while a tool sampled, and for how many samples."""
    target = subprocess.Popen([options.python, __file__, "--work", library, str(int(holds_gil)), str(options.calls)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert target.stdout.readline() == "ready\n"
    profiler = None
    with tempfile.NamedTemporaryFile(suffix=".txt") as output:
        if tool:
            command = [*tool, "-r", str(options.rate), "-f", "raw", "-o", output.name, "-p", str(target.pid)]
            more = ["-d", "1000"] if "py-spy" in tool[0] else []
            profiler = subprocess.Popen(command + more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2)
        target.stdin.write("go\n")
        target.stdin.flush()
        early = target.stdout.readline().split()
        if profiler:
            assert profiler.poll() is None, f"{tool} has ended with status {profiler.returncode}"
            profiler.send_signal(2)
            profiler.wait()
        target.stdin.write("end\n")
        target.stdin.flush()
        target.wait()
        lines = open(output.name, encoding="utf-8").read().splitlines()
        samples = sum(int(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[2].isdigit())
    return early, samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pyspy", default=os.path.join(HERE, "..", "..", "target", "release", "pyspy"))
    parser.add_argument("--py-spy")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=1000)
    options = parser.parse_args()
    record = [options.pyspy, "record", "-i"]
    tools = [("nothing", None), ("pyspy", record), ("pyspy --blocking", [*record, "--blocking"]),
             ("pyspy --native", [*record, "--native"]), ("pyspy, reader", [*record, "--sampler=reader"]),
             ("pyspy --native, reader", [*record, "--native", "--sampler=reader"])]
    if options.py_spy:
        theirs = [options.py_spy, "record", "-i"]
        tools += [("py-spy", theirs), ("py-spy --nonblocking", [*theirs, "--nonblocking"])]
    print(f"{'GIL':10}{'sampled by':24}{'samples':>9}{'epoll_wait':>12}{'write':>8}{'recv':>8}{'early':>8}")
    with tempfile.TemporaryDirectory() as folder:
        library = os.path.join(folder, "transfers.so")
        source = os.path.join(HERE, "transfers.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-pthread", "-o", library, source], check=True)
        for holds_gil in (False, True):
            for name, tool in tools:
                early, samples = measured(options, library, holds_gil, tool)
                share = sum(map(int, early)) / options.calls
                print(f"{'held' if holds_gil else 'released':10}{name:24}{samples:9}"
                      f"{early[0]:>12}{early[1]:>8}{early[2]:>8}{share:>8.2%}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3] == "1", int(sys.argv[4]))
    else:
        main()
