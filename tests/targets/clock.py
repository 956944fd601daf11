"""Computes in `one` for a quarter of the time and in `two` for the rest, by turns of 0.2 seconds, and prints the time
after each."""
import sys
import time


def one(seconds):
    end = time.time() + seconds
    while time.time() < end:
        sum(range(100))


def two(seconds):
    end = time.time() + seconds
    while time.time() < end:
        sum(range(100))


print("ready")
sys.stdout.flush()
while True:
    one(0.05)
    two(0.15)
    print("%.6f" % time.time())
    sys.stdout.flush()
