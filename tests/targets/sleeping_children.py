"""For each line: that many children one after the other, each of which sleeps for 3 s and is waited for."""
import os
import sys
import time


def sleeps():
    time.sleep(3)


def waits(pid):
    os.waitpid(pid, 0)


print("ready")
sys.stdout.flush()
for line in iter(sys.stdin.readline, ""):
    for _ in range(int(line)):
        pid = os.fork()
        if pid == 0:
            sleeps()
            os._exit(0)
        waits(pid)
    print("done")
    sys.stdout.flush()
