"""Blocks an event loop, again and again, for a time that it says.

usage: loop_lag.py asyncio|uvloop|trio|gevent|eventlet MILLISECONDS task|callback|socket|sockets|yields [without]

Between two blocks the loop waits in its selector for as long. On the line `stop` it goes on without blocking.
What blocks is called by a timer, for `socket` when another thread has sent something. Nothing blocks for `sockets`, two
that answer each other without end, and `yields`, one that only lets others run; `without` timers.
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


def of_eventlet():
    import socket

    import eventlet
    from eventlet.greenio import GreenSocket

    near, far = socket.socketpair()

    def send():
        while True:
            far.send(b"x")
            time.sleep(2 * seconds)

    def guilty():
        receiver = GreenSocket(near)
        while True:
            block()
            if by == "socket":
                receiver.recv(1)
            else:
                eventlet.sleep(seconds)

    def answer(socket):
        while True:
            socket.send(socket.recv(1))

    if by == "socket":
        thread = threading.Thread(target=send)
        thread.daemon = True
        thread.start()
    start()
    if len(sys.argv) == 4:
        eventlet.spawn_after(3600, block)
    if by == "sockets":
        eventlet.spawn(answer, GreenSocket(near))
        far.send(b"x")
        answer(GreenSocket(far))
    while by == "yields":
        eventlet.sleep(0)
    eventlet.spawn(guilty).wait()


kinds = {"asyncio": of_asyncio, "uvloop": of_asyncio, "trio": of_trio, "gevent": of_gevent, "eventlet": of_eventlet}
kinds[kind]()
