"""Hangs in the way that the first argument names, or works in the same way without hanging when the second is
"healthy"."""
import asyncio
import queue
import socket
import sys
import threading
import time

HANGS = len(sys.argv) < 3


def deadlock():
    """Two threads take two locks, in different orders where they hang."""
    first, second = threading.Lock(), threading.Lock()
    has_one = threading.Barrier(2) if HANGS else None

    def transfer(source, target):
        while True:
            with source:
                if has_one:
                    has_one.wait()
                with target:
                    time.sleep(0.01)

    orders = ((first, second), (second, first)) if HANGS else ((first, second), (first, second))
    for number, order in enumerate(orders):
        threading.Thread(target=transfer, args=order, name="transfer-%d" % number, daemon=True).start()
    say_ready()
    time.sleep(1000)


def task_deadlock():
    """Two tasks do the same with locks of asyncio."""

    async def transfer(source, target):
        while True:
            async with source:
                await asyncio.sleep(0.01)
                async with target:
                    await asyncio.sleep(0)

    async def main():
        first, second = asyncio.Lock(), asyncio.Lock()
        orders = ((first, second), (second, first)) if HANGS else ((first, second), (first, second))
        tasks = [asyncio.ensure_future(transfer(*order)) for order in orders]
        say_ready()
        await asyncio.wait(tasks)

    asyncio.run(main())


def answer(sock, pause):
    """Sends something every so often."""
    while True:
        time.sleep(pause)
        sock.send(b"x")


def blocked_loop(run=asyncio.run):
    """A handler waits for an answer without `await`: one that never comes, or one that soon does."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=answer, args=(theirs, 1000 if HANGS else 0.05), daemon=True).start()

    def query(user_id):
        return ours.recv(1)

    async def handler(user_id):
        query(user_id)
        await asyncio.sleep(0)

    async def main():
        say_ready()
        while True:
            await asyncio.sleep(0.01)
            await asyncio.ensure_future(handler(4711))

    run(main())


def blocked_uvloop():
    """The same under uvloop."""
    import uvloop

    blocked_loop(uvloop.run)


def gil():
    """C code sleeps with the GIL, for long or for short."""
    import ctypes

    usleep = ctypes.PyDLL(None).usleep

    def compute():
        while True:
            sum(range(100))

    def native_call(seconds):
        while True:
            usleep(int(seconds * 1000000))
            time.sleep(0.001)

    threading.Thread(target=compute, name="compute", daemon=True).start()
    say_ready()
    threading.Thread(target=native_call, args=(100 if HANGS else 0.1,), name="native", daemon=True).start()
    time.sleep(1000)


def no_answer():
    """Waits for an answer that never comes, or soon does."""
    ours, theirs = socket.socketpair()
    threading.Thread(target=answer, args=(theirs, 1000 if HANGS else 0.05), daemon=True).start()

    def query(statement):
        return ours.recv(1)

    def handler(user_id):
        return query("select 1")

    say_ready()
    while True:
        handler(4711)


def held_lock():
    """Waits for a lock whose holder waits for an answer that never comes, or soon does."""
    lock = threading.Lock()
    ours, theirs = socket.socketpair()
    threading.Thread(target=answer, args=(theirs, 1000 if HANGS else 0.05), daemon=True).start()
    has_it = threading.Event()

    def refresh(cache):
        while True:
            with lock:
                has_it.set()
                ours.recv(1)

    threading.Thread(target=refresh, args=("prices",), name="refresher", daemon=True).start()
    has_it.wait()

    def handler(user_id):
        with lock:
            return user_id

    say_ready()
    while True:
        handler(4711)


def busy():
    """Computes all the time, or half of it."""

    def spin(seconds):
        end = time.time() + seconds
        while time.time() < end:
            sum(range(100))

    say_ready()
    while True:
        spin(1000 if HANGS else 0.02)
        time.sleep(0.06)


def pool():
    """Handlers wait for a connection of a pool, which nobody gives back, or is soon given back."""
    connections = queue.Queue()
    for number in range(2):
        connections.put(number)

    def checkout(user_id):
        return connections.get()

    def handler(user_id):
        connection = checkout(user_id)
        time.sleep(0.05)
        if not HANGS:
            connections.put(connection)

    def serve(user_id):
        while True:
            handler(user_id)

    for number in range(6):
        threading.Thread(target=serve, args=(4700 + number,), name="serve-%d" % number, daemon=True).start()
    say_ready()
    time.sleep(1000)


def call():
    """One call of `report` goes on and on, or many short ones."""

    def report(customer):
        time.sleep(1000 if HANGS else 0.05)

    say_ready()
    while True:
        report("4711")
        time.sleep(0.05)


def say_ready():
    print("ready")
    sys.stdout.flush()


globals()[sys.argv[1]]()
