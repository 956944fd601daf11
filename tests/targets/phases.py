"""Computes in functions that measure their own wall time; prints the times as JSON each second, and ends on a line of
input, or after as many seconds as its argument says.

The phases are of different and odd lengths, long and short against a sampling period.
"""
import json
import sys
import threading
import time

times = {"short": 0.0, "middle": 0.0, "long": 0.0}


def spin(until):
    while time.time() < until:
        sum(range(50))


def short(now):
    spin(now + 0.037)


def middle(now):
    spin(now + 0.101)


def long(now):
    spin(now + 0.223)


def wait_for_end(ended):
    sys.stdin.readline()
    ended.append(True)


def main():
    ended = []
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else None
    if seconds is None:
        reader = threading.Thread(target=wait_for_end, args=(ended,))
        reader.daemon = True
        reader.start()
    print("ready")
    sys.stdout.flush()
    begin = told = time.time()
    while not ended and (seconds is None or time.time() - begin < seconds):
        for function in (short, middle, long, short):
            now = time.time()
            function(now)
            times[function.__name__] += time.time() - now
        if time.time() - told > 1:
            told += 1
            print("second")
            sys.stdout.flush()
    print(json.dumps(times))
    sys.stdout.flush()


main()
