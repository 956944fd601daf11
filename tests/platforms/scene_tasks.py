"""Tasks of asyncio that wait for each other for good; says `ready` once they do."""
import asyncio
import os
import sys


async def fetch(number, gate):
    if number == 2:
        print("ready %d" % os.getpid())
        sys.stdout.flush()
    await gate.wait()


async def serve(gate):
    fetches = [asyncio.ensure_future(fetch(number, gate)) for number in range(3)]
    await asyncio.gather(*fetches)


async def main():
    gate = asyncio.Event()
    await asyncio.ensure_future(serve(gate))

asyncio.run(main())
