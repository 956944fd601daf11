"""A thread `collector` that collects all the while, beside a `worker` that never does, and one that sleeps."""
import gc
import sys
import threading
import time

gc.disable()
alive = [[number] for number in range(200000)]


def work():
    number = 0
    while True:
        number += 1


def collect():
    while True:
        gc.collect()


for name, function in ("worker", work), ("collector", collect), ("sleeper", lambda: time.sleep(1000)):
    threading.Thread(target=function, name=name, daemon=True).start()
print("ready")
sys.stdout.flush()
sys.stdin.readline()
