"""Sleeps in epoll_wait(2) while it holds the GIL, and counts the calls that a stop has made end early."""
import ctypes
import os
import select
import sys
import threading

# Its functions are called with the GIL held.
library = ctypes.PyDLL(None, use_errno=True)
epoll = select.epoll()
events = ctypes.create_string_buffer(64)
calls = interrupted = 0


def sleep_once():
    global calls, interrupted
    calls += 1
    if library.epoll_wait(epoll.fileno(), events, 1, 20) == -1:
        interrupted += 1


def answer():
    for _ in sys.stdin:
        os.write(1, b"%d %d\n" % (calls, interrupted))


threading.Thread(target=answer, daemon=True).start()
os.write(1, b"ready\n")
while True:
    sleep_once()
