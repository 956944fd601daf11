"""Computes for so many seconds and exits with a status: `brief.py SECONDS [STATUS]`."""
import sys
import time


def compute(until):
    total = 0
    while time.time() < until:
        for number in range(1000):
            total += number * number
    return total


if __name__ == "__main__":
    compute(time.time() + float(sys.argv[1]))
    sys.exit(int((sys.argv + ["0"])[2] if len(sys.argv) > 2 else 0))
