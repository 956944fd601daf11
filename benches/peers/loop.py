"""A loop of asyncio with many tasks, for `tasks.py` to look at.

usage: loop.py TASKS DEPTH

All but one task wait: a third each in a sleep, for an event, and for another task, below DEPTH coroutines. One
computes: half a millisecond in a coroutine, then it lets the loop look at its sockets. Prints its process id.
"""
import asyncio
import os
import sys
import time


async def below(depth, what):
    if depth > 1:
        return await below(depth - 1, what)
    return await what


async def sleeps(depth):
    await below(depth, asyncio.sleep(100000))


async def waits(depth, event):
    await below(depth, event.wait())


async def joins(depth, other):
    await below(depth, other)


def compute(until):
    total = 0
    while time.perf_counter() < until:
        total += 1
    return total


async def step():
    compute(time.perf_counter() + 0.0005)
    await asyncio.sleep(0)


async def computes():
    while True:
        await step()


async def main(count, depth):
    event = asyncio.Event()
    tasks = []
    for number in range(count - 2):
        kind = number % 3
        if kind == 0:
            coroutine = sleeps(depth)
        elif kind == 1:
            coroutine = waits(depth, event)
        else:
            coroutine = joins(depth, tasks[-1])
        tasks.append(asyncio.create_task(coroutine))
    await asyncio.sleep(0)
    print(os.getpid(), flush=True)
    await asyncio.create_task(computes())


asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
