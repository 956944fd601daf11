"""Makes functions without end: each has a table of lines of 65,536 ranges (3.11+), or a name of its own."""
import sys
from time import time


def template(deadline):
    while time() < deadline:
        pass


KIND = sys.argv[1]
# Entries of one line and two columns, which are others each time.
TABLE = bytes([0x80 | 0x50, 1, 2, 0x80 | 0x50, 3, 4]) * (1 << 15)
print("ready")
sys.stdout.flush()
number = 0
while True:
    number += 1
    if KIND == "tables":
        code = template.__code__.replace(co_linetable=TABLE, co_firstlineno=number)
    else:
        name = "f%07d" % number
        name += "x" * (4000 - len(name))
        names = {"co_name": name}
        if hasattr(template.__code__, "co_qualname"):
            names["co_qualname"] = name
        code = template.__code__.replace(**names)
    type(template)(code, globals())(time() + 0.004)
