"""Counts without end, in a file of eight bytes that the test can map or read: argument 1. A second thread naps."""
import mmap
import struct
import sys
import threading
import time

with open(sys.argv[1], "r+b") as counter_file:
    counter = mmap.mmap(counter_file.fileno(), 8)


def naps():
    while True:
        time.sleep(0.001)


def count(depth):
    if depth:
        return count(depth - 1)
    number = 0
    print("ready")
    sys.stdout.flush()
    while True:
        number += 1
        counter[0:8] = struct.pack("=Q", number)


thread = threading.Thread(target=naps)
thread.daemon = True
thread.start()
count(10)
