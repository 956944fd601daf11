"""A child of a bare fork(2), as embedding hosts make their workers, so that CPython did not learn of the fork. It
prints its number and what `threading` would call its threads, then computes in `busy_main`.

Arguments: how many threads the parent had that the child has not; how many threads the child starts.
"""
import ctypes
import os
import sys
import threading
import time


def left_behind(begun):
    begun.set()
    time.sleep(1000)


def started_after(begun):
    begun.set()
    time.sleep(1000)


def busy_main():
    while True:
        sum(range(500))


def start(count, function):
    for number in range(count):
        begun = threading.Event()
        thread = threading.Thread(target=function, args=(begun,), name="%s %d" % (function.__name__, number))
        thread.daemon = True
        thread.start()
        begun.wait()


start(int(sys.argv[1]), left_behind)
child = ctypes.CDLL(None).fork()
if child == 0:
    start(int(sys.argv[2]), started_after)
    print("ready")
    print(os.getpid())
    sys.stdout.flush()
    busy_main()
os.waitpid(child, 0)
