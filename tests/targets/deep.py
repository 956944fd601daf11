"""A thread that waits at the end of as many calls as the argument says."""
import sys
import threading

depth = int(sys.argv[1])
gate = threading.Lock()
gate.acquire()
deep = threading.Event()


def wait():
    deep.set()
    gate.acquire()


def descend(left):
    if left > 1:
        descend(left - 1)
    else:
        wait()


sys.setrecursionlimit(depth + 100)
threading.stack_size(512 * 1024 * 1024)
thread = threading.Thread(target=descend, args=(depth,), name="deep")
thread.daemon = True
thread.start()
deep.wait()
print("ready")
sys.stdout.flush()
sys.stdin.readline()
