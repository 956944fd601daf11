"""Beside a process that computes on the same CPU: a thread that computes for a while, and after it another that the
system gives the same number, where the kernel lets root choose it. Prints whether it had it.
"""
import os
import subprocess
import sys
import threading
import time

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
print("ready")
sys.stdout.flush()
sys.stdin.readline()
numbers = []


def computes(seconds):
    numbers.append(threading.get_native_id())
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        sum(range(1000))


def first():
    computes(1.5)


def second():
    computes(0.5)


def run(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


run(first)
for _ in range(100):
    # Another thread of the machine may take the number before ours does.
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(numbers[0] - 1))
    del numbers[1:]
    run(second)
    if numbers[1] == numbers[0]:
        break
rival.kill()
rival.wait()
print("reused" if numbers[1] == numbers[0] else "other")
sys.stdout.flush()
sys.stdin.readline()
