"""A pool of 64 workers of which one hangs: it waits for an answer that does not come. Its argument is how deep the main
thread waits."""
import socket
import sys
import threading
import time

try:
    import queue
except ImportError:
    import Queue as queue

WORKERS = 64
HUNG = 37
jobs = queue.Queue()
near, far = socket.socketpair()
entered = []


def fetch(connection, password):
    entered.append("fetch")
    while True:
        try:
            return connection.recv(10)
        except (IOError, OSError):
            # Python 2.7 does not repeat a call that a debugger's stop has interrupted.
            pass


def work(number):
    entered.append(number)
    if number == HUNG:
        fetch(near, "hunter2")
    jobs.get()


def wait(depth):
    if depth > 0:
        return wait_below(depth)
    print("ready")
    sys.stdout.flush()
    sys.stdin.readline()


def wait_below(depth):
    # Two functions in turn, at lines of their own, so that few of the frames can be folded.
    return [wait_again, wait_once_more, wait][depth % 3](depth - 1)


def wait_again(depth):
    return wait(depth)


def wait_once_more(depth):
    return wait_again(depth)


for number in range(WORKERS):
    thread = threading.Thread(target=work, args=(number,), name="worker-%d" % number)
    thread.daemon = True
    thread.start()
while len(entered) < WORKERS + 1:
    time.sleep(0.001)
wait(int(sys.argv[1]))
