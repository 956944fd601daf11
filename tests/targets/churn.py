"""Makes and drops code objects without end.

The function f_N is compiled in the file file_N.py and nowhere else, and calls g_N of the same file, so a stack that
pairs names and files otherwise was never there.
"""
import sys

SOURCE = """
def g_%(number)d():
    total = 0
    for number in range(%(turns)d):
        total += number
    return total


def f_%(number)d():
    return g_%(number)d()
"""


def main():
    print("ready")
    sys.stdout.flush()
    number = 0
    while True:
        number += 1
        scope = {}
        # The numbers come again, so that what is remembered of a dropped function can be wrong about the next one.
        name = number % 1000
        text = SOURCE % {"number": name, "turns": 200 + number % 7}
        exec(compile(text, "file_%d.py" % name, "exec"), scope)
        for _ in range(20):
            scope["f_%d" % name]()


main()
