"""An event loop whose tasks compute: handlers that the main task gathers, a child that a parent waits for, callbacks.
Ten tasks sleep all the time."""

import asyncio
import sys
import time


def burn(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def compute():
    burn(0.005)
    await asyncio.sleep(0)


async def handler():
    while True:
        await compute()


async def child():
    while True:
        burn(0.005)
        await asyncio.sleep(0)


async def parent():
    await asyncio.ensure_future(child())


async def sleeper():
    await asyncio.sleep(3600)


def callback(loop):
    burn(0.005)
    loop.call_soon(callback, loop)


async def main():
    loop = asyncio.get_event_loop()
    tasks = [asyncio.ensure_future(coroutine) for coroutine in [handler(), handler(), parent()]]
    tasks += [asyncio.ensure_future(sleeper()) for _ in range(10)]
    loop.call_soon(callback, loop)
    print("ready")
    sys.stdout.flush()
    await asyncio.gather(*tasks)


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
