"""One thread that never lets the GIL go by itself, and others that want it."""
import sys
import threading


def spin():
    while True:
        pass


for number in range(3):
    thread = threading.Thread(target=spin, name="spinner %d" % number)
    thread.daemon = True
    thread.start()
print("ready")
sys.stdout.flush()
sys.stdin.readline()
