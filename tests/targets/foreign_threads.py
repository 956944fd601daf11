"""Runs Python code in threads that C started (argument: `host.c` as a library), one of which has a name of its own."""
import ctypes
import sys
import time

started = []


def foreign():
    started.append(True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    callback = ctypes.CFUNCTYPE(None)(foreign)
    host = ctypes.CDLL(sys.argv[1])
    host.start_threads(callback)
    while len(started) < 2:
        time.sleep(0.01)
    print("ready")
    sys.stdout.flush()
    sys.stdin.readline()
