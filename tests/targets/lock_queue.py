"""As many threads as are named wait for one lock, which the main thread holds."""
import sys
import threading
import time

COUNT = int(sys.argv[1])
arrived = []


def wait_for_it():
    arrived.append(None)
    with lock:
        pass


threading.stack_size(128 << 10)
lock = threading.Lock()
with lock:
    for _ in range(COUNT):
        thread = threading.Thread(target=wait_for_it)
        thread.daemon = True
        thread.start()
    while len(arrived) < COUNT:
        time.sleep(0.01)
    # The last one is on its way.
    time.sleep(0.2)
    print("ready")
    sys.stdout.flush()
    sys.stdin.read()
