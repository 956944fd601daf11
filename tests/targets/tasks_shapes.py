"""The shapes that tasks of asyncio can have, each a function that starts its tasks and then waits for ever.

A shape calls `scene.parked()` right before it waits itself: from then on it makes no more tasks.
"""
import asyncio
import socket
import sys

from tasks_awaitables import (
    anext_with_default, async_generators, await_methods, context_managers, decorated_generators, generators,
    opaque_coroutine,
)
from tasks_scene import deep, parks


# --- plain waits ------------------------------------------------------------------------------------------------


async def sleeping(scene):
    scene.start(asyncio.sleep(5000), "sleep itself")
    scene.parked()
    for _ in range(3):
        await asyncio.sleep(
            4000,
            result=1,
        )


async def of_a_future(scene):
    scene.parked()
    with open("/dev/null"):
        for _ in [1, 2, 3]:
            try:
                await parks(scene)
            finally:
                scene.kept.append(1)


async def deep_chain(scene):
    scene.parked()
    await deep(scene, 150)


async def in_places(scene):
    async def in_comprehension():
        return [await parks(scene) for _ in range(2)]

    async def in_arguments():
        return dict(
            first=1,
            second=[2,
                    await parks(scene)],
        )

    async def in_handler():
        try:
            raise KeyError("1")
        except KeyError:
            await parks(scene)

    class Manager(object):
        async def __aenter__(self):
            await parks(scene)

        async def __aexit__(self, *_):
            pass

    async def in_with():
        async with Manager():
            pass

    scene.start(in_comprehension(), "list")
    scene.start(in_arguments())
    scene.start(in_handler(), "a name with \"quotes\", \x1b[31m and \u7dda \U0001f40d\n")
    scene.start(in_with())
    scene.parked()
    await parks(scene)


# --- tasks that wait for tasks ----------------------------------------------------------------------------------


async def gathering(scene):
    inner = asyncio.gather(parks(scene), asyncio.sleep(3000))
    scene.parked()
    await asyncio.gather(scene.start(parks(scene), "gathered"), inner, asyncio.sleep(3000), scene.future())


async def gathering_with_one_done(scene):
    async def ends():
        return 1

    ended = scene.start(ends(), "ended")
    await ended
    scene.parked()
    await asyncio.gather(ended, parks(scene))


async def diamond(scene):
    shared = scene.start(parks(scene), "shared")

    async def awaits_it():
        await shared

    left, right = scene.start(awaits_it(), "left"), scene.start(awaits_it(), "right")
    scene.parked()
    await asyncio.gather(left, right)


async def chain_of_tasks(scene):
    async def awaits(task):
        await task

    task = scene.start(parks(scene), "last")
    for _ in range(3):
        task = scene.start(awaits(task))
    scene.parked()
    await task


async def python_tasks(scene):
    """Tasks written in Python between those of the extension module; 3.14 keeps the two kinds apart."""
    kind = asyncio.tasks._PyTask

    def start(coroutine):
        task = kind(coroutine, loop=scene.loop)
        scene.kept.append(task)
        return task

    async def awaits(task):
        await task

    start(parks(scene))
    start(asyncio.sleep(3000))
    scene.start(awaits(start(awaits(scene.start(parks(scene))))))
    scene.parked()
    await asyncio.gather(start(deep(scene, 2)), parks(scene))


async def ring(scene):
    members = {}

    async def awaits(name):
        await asyncio.sleep(0)
        await members[name]

    members["a"] = scene.start(awaits("b"), "ring a")
    members["b"] = scene.start(awaits("a"), "ring b")

    async def gathers():
        await asyncio.sleep(0)
        await asyncio.gather(members["d"], scene.future())

    members["c"] = scene.start(gathers(), "ring c")
    members["d"] = scene.start(awaits("c"), "ring d")
    scene.parked()
    await parks(scene)


async def waiting_for(scene):
    async def waits_for_a_task():
        await asyncio.wait_for(scene.start(parks(scene), "waited for"), 5000)

    scene.start(waits_for_a_task())
    scene.parked()
    await asyncio.wait_for(parks(scene), timeout=5000)


async def shielding(scene):
    scene.parked()
    await asyncio.shield(scene.start(parks(scene), "shielded"))


async def waiting_for_some(scene):
    async def as_completed():
        for future in asyncio.as_completed([parks(scene), parks(scene)]):
            await future

    scene.start(as_completed())
    tasks = [scene.start(parks(scene), "some") for _ in range(3)]
    scene.parked()
    await asyncio.wait(tasks, timeout=5000)


async def in_group(scene):
    """Waits for something else while the group's tasks run, which makes no edge between them."""
    async with asyncio.TaskGroup() as group:
        scene.kept.append(group.create_task(parks(scene), name="child of one that does something else"))
        scene.kept.append(group.create_task(asyncio.sleep(3000)))
        scene.parked()
        await asyncio.sleep(2000)


async def leaving_group(scene):
    async with asyncio.TaskGroup() as group:
        group.create_task(parks(scene), name="child of one that leaves")

        async def nested():
            async with asyncio.TaskGroup() as inner:
                inner.create_task(parks(scene))
                inner.create_task(parks(scene))

        group.create_task(nested())
        scene.parked()


async def in_group_and_elsewhere(scene):
    """Whoever has opened a group waits in every way for something that has nothing to do with it."""
    future, event = scene.future(), asyncio.Event()
    scene.kept.append(event)

    async def opens(waits):
        async with asyncio.TaskGroup() as group:
            scene.kept.append(group.create_task(parks(scene), name="only in the group"))
            await waits()

    async def awaits_future():
        await future

    async def of_nested():
        async with asyncio.TaskGroup() as inner:
            inner.create_task(parks(scene), name="of the inner group")

    class Awaitable(object):
        def __await__(self):
            return of_nested().__await__()

    async def awaits_object():
        await Awaitable()

    async def waits_for_some():
        await asyncio.wait([scene.start(parks(scene), "waited for")], timeout=5000)

    waits = [
        lambda: parks(scene), awaits_future, awaits_future, event.wait, of_nested, awaits_object, waits_for_some,
        lambda: asyncio.gather(parks(scene), scene.start(parks(scene), "gathered")),
        lambda: asyncio.shield(scene.start(parks(scene), "shielded")),
        lambda: asyncio.wait_for(of_nested(), 5000),
    ]
    for way in waits:
        scene.start(opens(way), "opens")
    scene.parked()
    await opens(awaits_future)


async def groups_of_others(scene):
    class Derived(asyncio.TaskGroup):
        async def __aexit__(self, *details):
            return await super().__aexit__(*details)

    class Holder(object):
        def __init__(self):
            self.group = asyncio.TaskGroup()

        async def __aenter__(self):
            return await self.group.__aenter__()

        async def __aexit__(self, *details):
            return await self.group.__aexit__(*details)

    async def leaves(group):
        async with group as opened:
            opened.create_task(parks(scene))
            opened.create_task(parks(scene))

    async def fails():
        async with asyncio.TaskGroup() as group:
            group.create_task(does_not_end())
            await asyncio.sleep(0)
            raise KeyError("1")

    async def does_not_end():
        try:
            await parks(scene)
        finally:
            await parks(scene)

    scene.start(leaves(Derived()), "leaves a derived one")
    scene.start(leaves(Holder()), "leaves one of another object")
    scene.start(fails(), "is cancelled by its own failure")
    for _ in range(5):
        await asyncio.sleep(0)
    scene.parked()
    await leaves(asyncio.TaskGroup())


async def diamonds_of_gathers(scene):
    shared = scene.start(parks(scene), "shared by two gathers")

    async def gathers():
        await asyncio.gather(shared, parks(scene))

    async with asyncio.TaskGroup() as group:
        group.create_task(gathers(), name="gathers on the left")
        group.create_task(gathers(), name="gathers on the right")
        scene.parked()


async def awaiting_child_of_group(scene):
    async with asyncio.TaskGroup() as group:
        child = group.create_task(parks(scene), name="awaited child")
        scene.parked()
        await child


# --- what asyncio has to wait in --------------------------------------------------------------------------------


async def queues(scene):
    empty, full, unfinished = asyncio.Queue(), asyncio.LifoQueue(1), asyncio.PriorityQueue()
    full.put_nowait(1)
    unfinished.put_nowait(1)
    scene.kept += [empty, full, unfinished]
    scene.start(empty.get(), "gets")
    scene.start(full.put(2), "puts")
    scene.start(unfinished.join(), "joins")

    async def consumer():
        while True:
            await empty.get()

    scene.start(consumer())
    scene.parked()
    await empty.get()


async def locks(scene):
    lock = asyncio.Lock()
    await lock.acquire()

    async def wants():
        async with lock:
            pass

    for number in range(3):
        scene.start(wants(), "wants the lock %d" % number)
    scene.parked()
    await lock.acquire()


async def semaphores(scene):
    semaphore, bounded = asyncio.Semaphore(0), asyncio.BoundedSemaphore(1)
    await bounded.acquire()
    scene.kept += [semaphore, bounded]

    async def wants():
        async with bounded:
            pass

    scene.start(wants())
    scene.parked()
    await semaphore.acquire()


async def conditions(scene):
    condition = asyncio.Condition()
    scene.kept.append(condition)

    async def waits():
        async with condition:
            await condition.wait()

    async def waits_for():
        async with condition:
            await condition.wait_for(lambda: False)

    scene.start(waits())
    scene.start(waits_for())
    # Both have let go of its lock by now; who takes it keeps it.
    for _ in range(5):
        await asyncio.sleep(0)
    await condition.acquire()

    async def acquires():
        await condition.acquire()

    scene.start(acquires())
    scene.parked()
    await parks(scene)


async def events(scene):
    event = asyncio.Event()
    scene.kept.append(event)
    scene.start(event.wait(), "the event itself")
    scene.parked()
    await event.wait()


async def barriers(scene):
    barrier = asyncio.Barrier(3)
    scene.kept.append(barrier)
    scene.start(barrier.wait())
    scene.parked()
    async with barrier:
        pass


# --- the world outside ------------------------------------------------------------------------------------------


async def executors(scene):
    import threading
    gate = threading.Lock()
    gate.acquire()
    scene.kept.append(gate)
    scene.parked()
    await scene.loop.run_in_executor(None, gate.acquire)


async def streams(scene):
    accepted = scene.future()

    async def serve(reader, writer):
        accepted.set_result(None)
        scene.kept.append(writer)
        await reader.readexactly(10)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await accepted
    scene.kept += [server, writer]
    scene.start(server.serve_forever(), "serves")
    scene.parked()
    await reader.readline()


async def sockets(scene):
    one, other = socket.socketpair()
    one.setblocking(False)
    scene.kept += [one, other]
    scene.parked()
    await scene.loop.sock_recv(one, 10)


def every(at_least=sys.version_info):
    shapes = [
        sleeping, of_a_future, deep_chain, in_places, gathering, gathering_with_one_done, diamond, chain_of_tasks,
        python_tasks, ring,
        waiting_for, shielding, waiting_for_some, queues, locks, semaphores, conditions, events, async_generators,
        await_methods, opaque_coroutine, generators, context_managers, executors, streams, sockets,
    ]
    if at_least >= (3, 10):
        shapes.append(anext_with_default)
    if at_least < (3, 11):
        shapes.append(decorated_generators)
    else:
        shapes += [
            in_group, leaving_group, awaiting_child_of_group, in_group_and_elsewhere, groups_of_others,
            diamonds_of_gathers, barriers,
        ]
    return shapes
