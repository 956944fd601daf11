"""Collects only when told to: for each line, so many times; prints for how long that took by its own clock, in s."""
import gc
import sys
import time

gc.disable()
gc.collect()
alive = [[number] for number in range(400000)]
spent = [0.0, 0.0]


def clock(phase, info):
    if phase == "start":
        spent[1] = time.time()
    else:
        spent[0] += time.time() - spent[1]


def collect(times):
    for _ in range(times):
        gc.collect()
        # Apart, so that samples can tell one from the next.
        end = time.time() + 0.03
        while time.time() < end:
            pass


gc.callbacks.append(clock)
print("ready")
sys.stdout.flush()
for line in iter(sys.stdin.readline, ""):
    spent[0] = 0.0
    collect(int(line))
    print("%.6f" % spent[0])
    sys.stdout.flush()
