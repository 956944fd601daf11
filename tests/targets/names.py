"""Functions whose names are wide, long, or meant for a terminal to obey; each takes as long as the others. Python 3."""
import sys

NAMES = ["日本語の関数", "a\x1b[31mred\x07", "two\nlines", "x" * 3000]


def make(name):
    def function(turns):
        while turns > 0:
            turns -= 1

    code = function.__code__
    named = {"co_name": name}
    if hasattr(code, "co_qualname"):
        named["co_qualname"] = name
    function.__code__ = code.replace(**named)
    return function


functions = [make(name) for name in NAMES]
print("ready")
sys.stdout.flush()
while True:
    for function in functions:
        function(20000)
