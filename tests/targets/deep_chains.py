"""A stack of 150 frames whose functions are chosen by chance, and whose innermost one tells which they are.

Each level is `a` or `b`. The function at the end, `leaf_N`, is named by a number that is made of all of them. It works
for a while and returns to some level, from which others are chosen. So a stack in which frames of two moments are
mixed has an end that does not belong to it.
"""
import sys

DEPTH = 150
path = [0] * DEPTH
kept = [0]
seed = [1]


def draw(limit):
    seed[0] = (seed[0] * 1103515245 + 12345) % 2147483648
    return (seed[0] >> 8) % limit


def number():
    return sum((level * level + 3 * level + 1) * bit for level, bit in enumerate(path)) % 16


def choose():
    kept[0] = draw(DEPTH)
    for level in range(kept[0], DEPTH):
        path[level] = draw(2)


def work():
    total = 0
    for value in range(2000):
        total += value
    return total


exec("\n".join("def leaf_%d():\n    for _ in range(8): work()\n" % leaf for leaf in range(16)))
LEAVES = [globals()["leaf_%d" % leaf] for leaf in range(16)]


LEVEL = """
def %s(level):
    while True:
        if level == DEPTH:
            LEAVES[number()]()
            choose()
        elif path[level]:
            b(level + 1)
        else:
            a(level + 1)
        if level > kept[0]:
            return
"""
exec(LEVEL % "a")
exec(LEVEL % "b")
choose()
print("ready")
sys.stdout.flush()
a(0)
