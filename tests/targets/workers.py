"""A main thread and two named ones that compute, and a child process that does; all without end.

Each is in one line of one function for nearly all of the time.
"""
import os
import sys
import threading

import json.decoder


def compute():
    while True:
        sum(range(100000))


def decode():
    text = "[" + "1," * 100000 + "1]"
    while True:
        json.decoder.JSONDecoder().decode(text)


def child():
    while True:
        sum(range(100000))


if "alone" not in sys.argv and os.fork() == 0:
    child()
for function in (compute, decode):
    thread = threading.Thread(target=function, name="worker-" + function.__name__)
    thread.daemon = True
    thread.start()
print("ready")
sys.stdout.flush()
compute()
