"""Two interpreters beside the main one, each in a thread of its own that waits in `in_sub`; prints their ids."""
import os
import sys
import threading

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

SOURCE = """
import os

def in_sub():
    os.write(%d, b"x")
    os.read(%d, 1)

in_sub()
"""
told, tell = os.pipe()
hold, _held = os.pipe()


def runs(interpreter):
    interpreters.run_string(interpreter, SOURCE % (tell, hold))


ids = []
for number in range(2):
    interpreter = interpreters.create()
    ids.append(interpreter)
    thread = threading.Thread(target=runs, args=(interpreter,), name="runs %d" % number)
    thread.daemon = True
    thread.start()
    os.read(told, 1)
print("ready")
print(" ".join(str(int(interpreter)) for interpreter in ids))
sys.stdout.flush()
sys.stdin.readline()
