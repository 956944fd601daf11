"""Threads that sleep, wait for a lock and read from a pipe when a line comes, and say for how long they were blocked.

Each takes the time that it took, less the time for which it was on a CPU or wanted one.
"""
import os
import sys
import threading
import time

ROUNDS, PAUSE = 20, 0.03
lock = threading.Lock()
held, taken, asked = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)
reading, writing = os.pipe()
results = []


def run_delay():
    with open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


def unblocked_and_all():
    """For how long the thread has run or wanted to, and the time, as of one moment but for 0.1 ms."""
    while True:
        delay = run_delay()
        passed, ran = time.perf_counter(), time.thread_time()
        if run_delay() - delay < 1e-4:
            return delay + ran, passed


def sleeps():
    for _ in range(ROUNDS):
        time.sleep(PAUSE)


def locks():
    for _ in range(ROUNDS):
        held.acquire()
        with lock:
            pass
        taken.release()


def reads():
    for _ in range(ROUNDS):
        asked.release()
        os.read(reading, 1)


def measured(work):
    before = unblocked_and_all()
    work()
    after = unblocked_and_all()
    blocked = (after[1] - before[1]) - (after[0] - before[0])
    results.append("%s %.6f" % (work.__name__, blocked))


def holds():
    for _ in range(ROUNDS):
        with lock:
            held.release()
            time.sleep(PAUSE)
        taken.acquire()


def writes():
    for _ in range(ROUNDS):
        asked.acquire()
        time.sleep(PAUSE)
        os.write(writing, b"x")


def naps():
    for _ in range(200):
        time.sleep(0.0001)


def run(work, partner):
    """One after the other: threads that take turns with the GIL would measure each other."""
    threads = [threading.Thread(target=measured, args=(work,)), threading.Thread(target=partner)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join()


print("ready")
sys.stdout.flush()
sys.stdin.readline()
for work, partner in ((sleeps, naps), (locks, holds), (reads, writes)):
    run(work, partner)
print(" ".join(results))
sys.stdout.flush()
sys.stdin.readline()
