"""A program to sample: one busy thread with a known set of possible stacks, others that wait, and a count of the work.

    target.py BUSY DEPTH WAITING COUNTER

BUSY is what the first thread does below DEPTH calls of `descend`:
    ordinary    small functions, strings and dictionaries: some microseconds a call
    fib         fib(18) again and again, whose stack moves every few ten nanoseconds
    chains      one of four chains of three calls after the other; a stack that mixes two of them never existed
    still       a loop without a call, but for the count
    idle        nothing: it waits
WAITING threads wait below five calls. The work done is counted in the first 8 bytes of the file COUNTER. Prints its
process id when all of it stands. Runs on Python 2.7 and later, until it is killed.
"""

import mmap
import os
import struct
import sys
import threading

pack = struct.pack


class Counter(object):
    """A number that another process can read while it grows."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 8)
        self.value = 0

    def add(self):
        self.value += 1
        # In one piece; `pack_into` would write zeros first.
        self.memory[0:8] = pack("=Q", self.value)


def descend(depth, body, counter):
    if depth > 0:
        descend(depth - 1, body, counter)
    else:
        body(counter)


def parse(text):
    fields = {}
    for pair in text.split(";"):
        key, _, value = pair.partition("=")
        fields[key] = value
    return fields


def order(fields):
    return sorted(fields.items(), key=lambda item: item[1])


def ordinary(counter):
    text = ";".join("key%d=%d" % (index, index * 7919 % 100) for index in range(60))
    while True:
        order(parse(text))
        counter.add()


def still(counter):
    while True:
        for _ in range(10000):
            pass
        counter.add()


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def fibs(counter):
    while True:
        fib(18)
        counter.add()


def a1():
    return b1() + 1


def b1():
    return c1() + 1


def c1():
    return sum(range(20))


def a2():
    return b2() + 1


def b2():
    return c2() + 1


def c2():
    return sum(range(20))


def a3():
    return b3() + 1


def b3():
    return c3() + 1


def c3():
    return sum(range(20))


def a4():
    return b4() + 1


def b4():
    return c4() + 1


def c4():
    return sum(range(20))


def chains(counter):
    while True:
        for _ in range(100):
            a1()
            a2()
            a3()
            a4()
        counter.add()


def idle(counter):
    threading.Event().wait()


def wait(event):
    event.wait()


def nest(depth, event):
    if depth > 0:
        nest(depth - 1, event)
    else:
        wait(event)


def main():
    busy, depth, waiting = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    counter = Counter(sys.argv[4])
    sys.setrecursionlimit(depth + 1000)
    event = threading.Event()
    for _ in range(waiting):
        thread = threading.Thread(target=nest, args=(3, event))
        thread.daemon = True
        thread.start()
    body = {"ordinary": ordinary, "fib": fibs, "chains": chains, "still": still, "idle": idle}[busy]
    sys.stdout.write("%d\n" % os.getpid())
    sys.stdout.flush()
    descend(depth, body, counter)


if __name__ == "__main__":
    main()
