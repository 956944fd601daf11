"""Greenlets that wait in a known function, in the main thread and in another one, and one that has not begun."""

import sys
import threading

import greenlet


def pause(value):
    greenlet.getcurrent().parent.switch(value)


def work(value):
    pause(value)


def start():
    paused = [greenlet.greenlet(work) for _ in range(3)]
    for waiting in paused:
        waiting.switch(waiting)
    return paused + [greenlet.greenlet(work)]


def run_thread():
    of_thread.extend(start())
    ready.set()
    threading.Event().wait()


of_main, of_thread, ready = start(), [], threading.Event()
thread = threading.Thread(target=run_thread, name="other")
thread.daemon = True
thread.start()
ready.wait()
print("ready")
sys.stdout.flush()
sys.stdin.read()
