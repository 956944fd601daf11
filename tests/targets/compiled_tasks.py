"""Tasks whose coroutines were compiled (compiled_coroutines.py, as the module `compiled`), among others that were not.

With `waits` all of them wait, and a line is written. With `runs` two of them run by turns. With `trio` some wait in
trio.
"""

import asyncio
import sys
import time

import compiled


async def plain_leaf():
    await asyncio.sleep(1000)


async def over_compiled():
    await compiled.awaits(plain_leaf)


async def over_method():
    await compiled.Session().fetch(1000)


async def over_classmethod():
    await compiled.Derived.begin(1000)


async def over_derived():
    await compiled.Derived().fetch(1000)


async def over_inherited():
    await compiled.Derived().encloses(1000)


async def waits():
    tasks = [
        over_compiled(),
        over_method(),
        over_classmethod(),
        over_derived(),
        over_inherited(),
        compiled.awaits(over_compiled),
        compiled.encloses(1000),
        compiled.keeps(1000),
    ]
    if hasattr(compiled, "iterates"):
        tasks.append(compiled.iterates(1000))
    tasks = [asyncio.ensure_future(coroutine) for coroutine in tasks]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    new = asyncio.ensure_future(compiled.sleeps(1000))
    print("ready", flush=True)
    sys.stdin.readline()
    return tasks, new


def burn():
    total = 0
    for number in range(20000):
        total += number
    return total


async def busy_leaf():
    while True:
        burn()
        await asyncio.sleep(0)


async def compiled_loop():
    while True:
        await asyncio.ensure_future(compiled.computes(time.monotonic() + 0.002, time.monotonic))


async def runs():
    tasks = [
        asyncio.ensure_future(compiled.awaits(busy_leaf)),
        asyncio.ensure_future(compiled_loop()),
        asyncio.ensure_future(compiled.awaits(lambda: asyncio.ensure_future(plain_leaf()))),
    ]
    print("ready", flush=True)
    await asyncio.gather(*tasks)


async def waits_in_trio():
    import trio

    async def trio_leaf():
        await trio.sleep(1000)

    async def over_compiled_in_trio():
        await compiled.awaits(trio_leaf)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(over_compiled_in_trio)
        nursery.start_soon(compiled.awaits, over_compiled_in_trio)
        await trio.testing.wait_all_tasks_blocked()
        print("ready", flush=True)
        await trio.sleep(1000)


if sys.argv[1] == "trio":
    import trio
    import trio.testing
    trio.run(waits_in_trio)
else:
    asyncio.run(waits() if sys.argv[1] == "waits" else runs())
