"""A program of known shares: of its time `heavy` takes 60 %, `medium` 30 % and `light` 10 %, all in themselves.

Another thread, `sleepy`, waits. A line of input ends the program with that exit status; without arguments it is not asked for.
"""
import os
import sys
import threading
import time


def heavy(until, clock):
    while clock() < until:
        pass


def medium(until, clock):
    while clock() < until:
        pass


def light(until, clock):
    while clock() < until:
        pass


def work(clock):
    start = clock()
    heavy(start + 0.012, clock)
    medium(start + 0.018, clock)
    light(start + 0.020, clock)


def sleeper():
    time.sleep(100000)


def waiter():
    os._exit(int(sys.stdin.readline() or 0))


def main():
    thread = threading.Thread(target=sleeper, name="sleepy")
    thread.daemon = True
    thread.start()
    if "wait" in sys.argv:
        ending = threading.Thread(target=waiter, name="ending")
        ending.daemon = True
        ending.start()
    deadline = float(sys.argv[2]) if "for" in sys.argv else float("inf")
    print("ready")
    sys.stdout.flush()
    clock = getattr(time, "perf_counter", time.time)
    start = clock()
    while clock() - start < deadline:
        work(clock)
    sys.stderr.write("last words\n")
    sys.exit(3)


main()
