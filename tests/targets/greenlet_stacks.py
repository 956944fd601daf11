"""Greenlets that compute, and ten that sleep all the time.

usage: greenlet_stacks.py gevent|eventlet|plain|sqlalchemy

gevent and eventlet: two handlers and a callback of the hub. plain: generators made of greenlets, one within the other,
and ten that are put aside. sqlalchemy: a task of asyncio that calls plain functions through `greenlet_spawn`.
"""
import sys
import time
import warnings


def burn(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def ready():
    print("ready")
    sys.stdout.flush()


def of_hub(sleep, spawn, call_soon):
    def compute():
        burn(0.005)
        sleep(0)

    def handler():
        while True:
            compute()

    def sleeper():
        sleep(3600)

    def callback():
        burn(0.005)
        call_soon(callback)

    greenlets = [spawn(function) for function in [handler, handler] + [sleeper] * 10]
    call_soon(callback)
    sleep(0.01)
    ready()
    return greenlets


def of_gevent():
    import gevent

    loop = gevent.get_hub().loop
    gevent.joinall(of_hub(gevent.sleep, gevent.spawn, loop.run_callback))


def of_eventlet():
    warnings.simplefilter("ignore")
    import eventlet
    import eventlet.hubs

    hub = eventlet.hubs.get_hub()
    greenlets = of_hub(eventlet.sleep, eventlet.spawn, lambda function: hub.schedule_call_global(0, function))
    greenlets[0].wait()


def of_plain():
    import greenlet

    def inner():
        burn(0.005)
        greenlet.getcurrent().parent.switch()

    def numbers():
        while True:
            inner()

    def doubled():
        source = greenlet.greenlet(numbers)
        while True:
            source.switch()
            burn(0.005)
            greenlet.getcurrent().parent.switch()

    def sleeper():
        greenlet.getcurrent().parent.switch()

    asleep = [greenlet.greenlet(sleeper) for _ in range(10)]
    for sleeping in asleep:
        sleeping.switch()
    source = greenlet.greenlet(doubled)
    ready()
    while True:
        source.switch()
        burn(0.005)


def of_sqlalchemy():
    import asyncio

    from sqlalchemy.util import await_only, greenlet_spawn

    def query():
        burn(0.005)
        await_only(asyncio.sleep(0))

    def flush():
        query()

    async def request():
        while True:
            await greenlet_spawn(flush)

    async def main():
        ready()
        await asyncio.gather(*[asyncio.ensure_future(request()) for _ in range(3)])

    asyncio.run(main())


{"gevent": of_gevent, "eventlet": of_eventlet, "plain": of_plain, "sqlalchemy": of_sqlalchemy}[sys.argv[1]]()
