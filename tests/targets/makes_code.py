"""Makes functions without end: each has a table of lines of 65,536 ranges (3.11+), or a name of its own.

"stacks" makes twenty at once, with names of their own, that call one another, while another thread wants the GIL.
"""
import sys
import threading
from time import sleep, time


def template(deadline):
    while time() < deadline:
        pass


def calls(others):
    if others:
        others.pop()(others)
        return
    deadline = time() + 0.002
    while time() < deadline:
        pass


def named(function, name):
    names = {"co_name": name}
    if hasattr(function.__code__, "co_qualname"):
        names["co_qualname"] = name
    return type(function)(function.__code__.replace(**names), globals())


def computes():
    while True:
        sum(range(200000))
        sleep(0.002)


KIND = sys.argv[1]
# Entries of one line and two columns, which are others each time.
TABLE = bytes([0x80 | 0x50, 1, 2, 0x80 | 0x50, 3, 4]) * (1 << 15)
if KIND == "stacks":
    threading.Thread(target=computes, daemon=True).start()
print("ready")
sys.stdout.flush()
number = 0
while True:
    number += 1
    if KIND == "stacks":
        others = [named(calls, ("f%07d_%03d" % (number, place)).ljust(4000, "x")) for place in range(20)]
        others.pop()(others)
        continue
    if KIND == "tables":
        code = template.__code__.replace(co_linetable=TABLE, co_firstlineno=number)
    else:
        code = named(template, ("f%07d" % number).ljust(4000, "x")).__code__
    type(template)(code, globals())(time() + 0.004)
