"""Runs the garbage collector most of the time."""
import gc
import sys

keep = [[number] for number in range(300000)]


def collect():
    gc.collect()


print("ready")
sys.stdout.flush()
while True:
    collect()
