"""A run of trio whose tasks compute: handlers in a nursery whose end the main task waits for, a child whose parent has
not come to the end of its nursery, and callbacks of the loop. Ten tasks sleep all the time."""

import sys
import time

import trio


def burn(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def compute():
    burn(0.005)
    await trio.sleep(0)


async def handler():
    while True:
        await compute()


async def child():
    while True:
        burn(0.005)
        await trio.sleep(0)


async def parent():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        await trio.Event().wait()


async def sleeper():
    await trio.sleep(3600)


def callback(token):
    burn(0.005)
    token.run_sync_soon(callback, token)


async def main():
    async with trio.open_nursery() as nursery:
        for function in [handler, handler, parent] + [sleeper] * 10:
            nursery.start_soon(function)
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(callback, token)
        print("ready")
        sys.stdout.flush()


trio.run(main)
