"""Makes functions without end: each has a table of lines of a megabyte (3.11+), or a name of its own."""
import sys


def template(deadline):
    while time() < deadline:
        pass


from time import time

KIND = sys.argv[1]
TABLE = bytes([0x80 | 0x50, 1, 2]) * (1 << 18)
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
        code = template.__code__.replace(co_name=name, **({"co_qualname": name} if hasattr(template.__code__, "co_qualname") else {}))
    type(template)(code, globals())(time() + 0.004)
