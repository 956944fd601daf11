"""The target of dump.py: `waiting_threads.py COUNT KIND` has so many threads that wait, and prints its pid then.

lock    all in `with lock:` of one lock that the main thread holds
queue   each in `Queue.get()` of a queue of its own, as the idle workers of a server
ring    each has one RLock and waits for that of the next: a deadlock of all
"""

import os
import queue
import sys
import threading
import time

COUNT, KIND = int(sys.argv[1]), sys.argv[2]
arrived = []
all_there = threading.Event()


def arrive():
    arrived.append(None)
    if len(arrived) == COUNT:
        all_there.set()


def wait_for_lock(lock):
    arrive()
    with lock:
        pass


def wait_for_item(items):
    arrive()
    return items.get()


def wait_in_ring(own, following):
    with own:
        arrive()
        all_there.wait()
        with following:
            pass


def serve(work, arguments):
    work(*arguments)


def start(work, *arguments):
    threading.Thread(target=serve, args=(work, arguments), daemon=True).start()


threading.stack_size(128 << 10)
shared = threading.Lock()
with shared:
    locks = [threading.RLock() for _ in range(COUNT)]
    for number in range(COUNT):
        if KIND == "lock":
            start(wait_for_lock, shared)
        elif KIND == "queue":
            start(wait_for_item, queue.Queue())
        else:
            start(wait_in_ring, locks[number], locks[(number + 1) % COUNT])
    all_there.wait()
    # The last ones are on their way.
    time.sleep(1)
    print(os.getpid(), flush=True)
    sys.stdin.read()
    os._exit(0)
