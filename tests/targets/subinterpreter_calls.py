"""Computes in a function `in_sub` of another interpreter, in a thread that called into it from `runs`.

The argument says who made the interpreter: `here`, that thread; `elsewhere`, another; with `between`, the thread calls
into a third interpreter, made later, that calls into it.
"""
import os
import sys
import threading

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

# It lets the GIL go itself: from 3.9 to 3.11 a thread of another interpreter cannot ask it to.
COMPUTE = """
import os
import time
def in_sub():
    os.write(%d, b"x")
    while True:
        sum(range(100000))
        time.sleep(0)
in_sub()
"""
CALL_ON = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def in_between():
    interpreters.run_string(%d, %r)
in_between()
"""
told, tell = os.pipe()


def make():
    try:
        return interpreters.create("legacy")
    except (TypeError, ValueError):
        return interpreters.create()


def runs(interpreter, source):
    interpreters.run_string(interpreter or make(), source)


source = COMPUTE % tell
if sys.argv[1] == "between":
    # The one that computes is the older one: numbers do not tell who called whom.
    source = CALL_ON % (int(make()), source)
interpreter = None if sys.argv[1] == "here" else make()
thread = threading.Thread(target=runs, args=(interpreter, source), name="runs")
thread.daemon = True
thread.start()
os.read(told, 1)
print("ready")
sys.stdout.flush()
while True:
    sys.stdin.readline()
