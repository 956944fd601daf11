"""Computes without end at the depth that the argument says."""
import sys


def compute():
    print("ready")
    sys.stdout.flush()
    total = 0
    while True:
        for number in range(1000):
            total += number


def descend(left):
    if left > 0:
        descend(left - 1)
    else:
        compute()


descend(int(sys.argv[1]) - 3)
