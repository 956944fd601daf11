"""What the saved images show: threads that wait for each other, tasks, values of many kinds, greenlets where there are.

It prints a line when all of it stands still; a core of it is then made with SIGABRT.
"""

import asyncio
import collections
import decimal
import enum
import queue
import sys
import threading

try:
    import greenlet
except ImportError:
    greenlet = None


class Colour(enum.Enum):
    RED = 1


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


class Plain:
    def __init__(self):
        self.name, self.password, self.inner = "plain", "hidden", Point(1, 2.5)


Pair = collections.namedtuple("Pair", "left right")
first, second, waiting = threading.Lock(), threading.Lock(), queue.Queue()
# Waits for the threads to have what they take first.
both = threading.Barrier(2)


def takes(one, other):
    with one:
        both.wait()
        with other:
            pass


def shows_values():
    number, large, negative, real, whole = 7, 1 << 200, -5, 2.5, True
    text, wide, raw, nothing = "text \x1b[31m", "\u20ac\U0001f600", b"\x00\xff", None
    items, many = [1, [2, [3]]], list(range(500))
    itself = []
    itself.append(itself)
    names = {"a": 1, 2: {"b": (3,)}}
    circle = {}
    circle["circle"] = circle
    unique, fixed, chain = {1, "x"}, frozenset([2]), collections.deque([1, 2], 5)
    pair, colour, point, plain = Pair(1, "r"), Colour.RED, Point(1, 2), Plain()
    amount, steps, view, spread = decimal.Decimal("1.5"), range(1, 9, 2), memoryview(b"abc"), slice(1, None)
    counted, ordered = collections.Counter("aab"), collections.OrderedDict(a=1)
    function, method, kind, module, made = shows_values, plain.__init__, Point, sys, (n for n in items)
    try:
        raise ValueError("shown", text)
    except ValueError:
        waiting.get()


async def sleeps(depth):
    if depth:
        return await sleeps(depth - 1)
    await asyncio.sleep(3600)


async def holds(lock, future):
    async with lock:
        await future


async def ring(others, place):
    await asyncio.sleep(0)
    await others[1 - place]


async def main():
    loop, lock, others = asyncio.get_running_loop(), asyncio.Lock(), []
    others += [loop.create_task(ring(others, place)) for place in range(2)]
    tasks = [loop.create_task(sleeps(depth)) for depth in (0, 5)]
    tasks += [loop.create_task(holds(lock, loop.create_future())) for _ in range(2)]
    if sys.version_info >= (3, 11):
        async with asyncio.TaskGroup() as group:
            group.create_task(sleeps(1))
            loop.call_later(0.5, stands_still)
            await asyncio.gather(sleeps(2), asyncio.wait(tasks))
    loop.call_later(0.5, stands_still)
    await asyncio.gather(sleeps(2), asyncio.wait(tasks))


def stands_still():
    print("ready", flush=True)


def switches(depth):
    if depth:
        return switches(depth - 1)
    greenlet.getcurrent().parent.switch()


paused = []
if greenlet is not None:
    paused = [greenlet.greenlet(switches) for _ in range(3)]
    for one in paused[1:]:
        one.switch(3)

for body, values in ((takes, (first, second)), (takes, (second, first)), (shows_values, ())):
    threading.Thread(target=body, args=values, daemon=True, name=body.__name__).start()
asyncio.run(main())
