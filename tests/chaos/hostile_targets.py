"""Programs that were made to hurt a profiler: `hostile_targets.py KIND`; each prints "ready" and goes on for ever."""

import asyncio
import collections
import os
import sys
import threading
import time

# What a terminal, a page or a list of stacks would act on.
EVIL = "\x1b]0;owned\x07\x1b[2J\r\n;<script>alert(1)</script>\"'\\\u202e\x9b31m\u2028\0"


def ready():
    print("ready", flush=True)


def spin(seconds=0.001):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def line_tables():
    """Functions without end, each with a line table of a megabyte."""
    ready()
    number = 0
    while True:
        number += 1
        name = f"made_{number}"
        scope = {"spin": spin}
        exec(compile(f"def {name}(): spin()", name, "exec"), scope)
        code = scope[name].__code__
        table = os.urandom(1 << 20)
        field = "co_linetable" if hasattr(code, "co_linetable") else "co_lnotab"
        scope[name].__code__ = code.replace(**{field: table})
        scope[name]()


def names():
    """Functions, files and threads whose names are long or full of control characters, new ones without end."""
    def run():
        number = 0
        while True:
            number += 1
            text = EVIL + str(number) + ("n" * (1 << 20) if number % 20 == 0 else "")
            scope = {"spin": spin}
            exec(compile("def made(): spin()", "f" + text.replace("\0", ""), "exec"), scope)
            code = {"co_name": text}
            if hasattr(spin.__code__, "co_qualname"):
                code["co_qualname"] = text + ".\ud800"
            scope["made"].__code__ = scope["made"].__code__.replace(**code)
            threading.current_thread().name = text[:1000]
            value = {text: EVIL, "b": EVIL.encode(), EVIL: [EVIL] * 3}
            scope["made"](*[] if value else ())
    for _ in range(3):
        threading.Thread(target=run, daemon=True).start()
    ready()
    run()


class Node:
    def __init__(self):
        self.node = self


def cycles():
    """Objects that hold themselves in every way, exceptions that caused each other, locks in a ring."""
    items, names, chain, node = [], {}, collections.deque(), Node()
    items += [items, items]
    names["self"] = names
    chain.append(chain)
    node.more = [node, items, names]
    nested = (items, [names, (chain, node)])
    items.append(nested)
    one, other = ValueError(items), ValueError(names)
    one.__context__, other.__cause__ = other, one
    locks = [threading.Lock() for _ in range(50)]
    barrier = threading.Barrier(len(locks))

    def takes(place):
        with locks[place]:
            barrier.wait()
            with locks[(place + 1) % len(locks)]:
                pass

    for place in range(len(locks)):
        threading.Thread(target=takes, args=(place,), daemon=True).start()
    ready()
    try:
        raise one
    except ValueError as caught:
        while True:
            spin()
            caught.again = [caught, nested]


def deep_types():
    """Types below types, thousands deep, and values in values, a hundred thousand deep."""
    kind = type("Base", (), {"__slots__": ()})
    for number in range(2000):
        kind = type(f"Below{number}" + "x" * 500, (kind,), {})
    value = kind()
    value.nested = []
    for number in range(100_000):
        value.nested = [value.nested, {number: (value.nested,)}]
    wide = [kind() for _ in range(1000)]
    for one in wide:
        one.__dict__.update({f"attribute {number}": wide for number in range(100)})

    def down(depth):
        local = wide if depth % 2 else value
        if depth:
            return down(depth - 1)
        ready()
        while True:
            spin()
            local = [local][0]

    sys.setrecursionlimit(10_000)
    down(900)


def huge_dicts():
    """Containers of millions, and texts of a hundred megabytes."""
    numbers = {number: number for number in range(3_000_000)}
    texts = {f"key {number}" * 5: [number] for number in range(500_000)}
    unique, items = set(range(2_000_000)), list(range(10_000_000))
    text, wide, raw = "x" * 100_000_000, "\U0001f600" * 10_000_000, b"\xff" * 100_000_000
    large = 1 << 10_000_000
    plain = Node()
    plain.__dict__.update(texts)
    ready()
    while True:
        spin()
        numbers[-1] = unique, items, text, wide, raw, large, plain


def tasks():
    """Fifty thousand tasks, chains of awaits a thousand deep, a ring, names full of control characters."""
    async def below(depth):
        if depth:
            return await below(depth - 1)
        await asyncio.sleep(3600)

    async def waits_for(others, place):
        await asyncio.sleep(0)
        await others[(place + 1) % len(others)]

    async def run():
        loop = asyncio.get_running_loop()
        kept = [loop.create_task(below(number % 10)) for number in range(50_000)]
        kept += [loop.create_task(below(900)) for _ in range(10)]
        ring = []
        ring += [loop.create_task(waits_for(ring, place)) for place in range(1000)]
        for number, task in enumerate(kept[::10]):
            if hasattr(task, "set_name"):
                task.set_name(EVIL + str(number))
        await asyncio.sleep(0.1)
        ready()
        while True:
            spin()
            await asyncio.sleep(0)

    sys.setrecursionlimit(10_000)
    asyncio.run(run())


def greenlets():
    """Twenty thousand greenlets, some of them deep, and new ones without end."""
    import greenlet

    def below(depth):
        if depth:
            return below(depth - 1)
        greenlet.getcurrent().parent.switch()

    kept = []
    for number in range(20_000):
        kept.append(greenlet.greenlet(below))
        kept[-1].switch(200 if number % 100 == 0 else 3)
    ready()
    while True:
        new = greenlet.greenlet(below)
        new.switch(3)
        spin()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
