"""Threads that compute, `COUNT` of them, and, with `keep` as second argument, one that keeps the GIL half of the time.

For each line it reads, each of them prints what it has measured itself: its name, the clock, the CPU time that it has
had and the time for which it wanted a CPU, all in seconds since the machine was started or the thread was.
"""
import ctypes
import sys
import threading
import time

count, keeps = int(sys.argv[1]), sys.argv[2:] == ["keep"]
asked = 0
answers = []


def measure(name):
    with open("/proc/thread-self/schedstat") as file:
        on_cpu, wanted = [int(number) / 1e9 for number in file.read().split()[:2]]
    answers.append("%s %.6f %.6f %.6f" % (name, time.monotonic(), on_cpu, wanted))


def compute(name):
    answered = number = 0
    while True:
        if answered != asked:
            answered = asked
            measure(name)
        for _ in range(1000):
            number += 1


def keep(name, usleep=ctypes.PyDLL(None).usleep):
    answered = 0
    while True:
        if answered != asked:
            answered = asked
            measure(name)
        usleep(20000)
        time.sleep(0.02)


names = ["computing %d" % number for number in range(count)]
for name in names:
    threading.Thread(target=compute, args=[name], name=name, daemon=True).start()
if keeps:
    names.append("keeper")
    threading.Thread(target=keep, args=["keeper"], name="keeper", daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    del answers[:]
    asked += 1
    while len(answers) < len(names):
        time.sleep(0.001)
    print("\n".join(sorted(answers)), flush=True)
