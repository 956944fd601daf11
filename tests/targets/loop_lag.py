"""Blocks an event loop, again and again, for a time that it says.

usage: loop_lag.py asyncio|uvloop|trio|gevent MILLISECONDS task|callback

Between two blocks the loop waits in its selector for as long. On the line `stop` it goes on without blocking.
"""
import sys
import threading
import time

kind, seconds, by = sys.argv[1], float(sys.argv[2]) / 1000, sys.argv[3]
stopped = threading.Event()


def wait_for_stop():
    print("ready")
    sys.stdout.flush()
    for _ in iter(sys.stdin.readline, ""):
        stopped.set()


def block():
    if not stopped.is_set():
        time.sleep(seconds)


def callback(loop):
    block()
    loop.call_later(seconds, callback, loop)


def start():
    thread = threading.Thread(target=wait_for_stop)
    thread.daemon = True
    thread.start()


def of_asyncio():
    import asyncio

    async def guilty():
        while True:
            block()
            await asyncio.sleep(seconds)

    async def main():
        loop = asyncio.get_event_loop()
        if by == "task":
            task = loop.create_task(guilty())
            if hasattr(task, "set_name"):
                task.set_name("the guilty one")
        else:
            callback(loop)
        start()
        await asyncio.sleep(3600)

    if kind == "uvloop":
        import uvloop
        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


def of_trio():
    import trio

    async def guilty():
        while True:
            block()
            await trio.sleep(seconds)

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guilty, name="the guilty one")
            start()

    trio.run(main)


def of_gevent():
    import gevent

    def guilty():
        while True:
            block()
            gevent.sleep(seconds)

    spawned = gevent.spawn(guilty)
    start()
    spawned.join()


{"asyncio": of_asyncio, "uvloop": of_asyncio, "trio": of_trio, "gevent": of_gevent}[kind]()
