"""A program of known shares: of its time `heavy` takes 60 %, `medium` 30 % and `light` 10 %, all in themselves.

Another thread, `sleepy`, waits. A line of input ends the program with that exit status; without arguments it is not
asked for.
"""
import os
import sys
import threading
import time


def heavy(turns):
    while turns > 0:
        turns -= 1


def medium(turns):
    while turns > 0:
        turns -= 1


def light(turns):
    while turns > 0:
        turns -= 1


def work():
    heavy(60000)
    medium(30000)
    light(10000)


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
    start = time.time()
    while time.time() - start < deadline:
        work()
    sys.stderr.write("last words\n")
    sys.exit(3)


main()
