"""Python called by C called by Python. Arguments: a library of `nest.c`; `work`, `wait` or a depth of recursion."""
import ctypes
import sys
import threading
import time

library = ctypes.CDLL(sys.argv[1])
what = sys.argv[2]
Callback = ctypes.CFUNCTYPE(None)


def ready():
    print("ready")
    sys.stdout.flush()


def leaf():
    if what == "work":
        ready()
        while True:
            library.nest_work(1000000)
    ready()
    while True:
        time.sleep(1000)


def again(depth):
    if depth == 0:
        leaf()
    library.nest_outer(Callback(lambda: again(depth - 1)))


inner = Callback(leaf)


def middle():
    library.nest_outer(inner)


def key(_):
    middle()


def main():
    if what.isdigit():
        again(int(what))
    sorted([1], key=key)


if what.isdigit():
    sys.setrecursionlimit(1000000)
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=main)
    thread.daemon = True
    thread.start()
    while True:
        time.sleep(1000)
main()
