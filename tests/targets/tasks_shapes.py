"""The shapes that tasks of asyncio can have, each a function that starts its tasks and then waits for ever.

A shape calls `scene.parked()` right before it waits itself: from then on it makes no more tasks.
"""
import asyncio
import socket
import sys
import types


class Scene(object):
    """What the shapes of one loop share. It starts their tasks, and keeps alive what they wait for."""

    def __init__(self, loop):
        self.loop = loop
        self.kept = []
        self.unparked = 0

    def start(self, coroutine, name=None):
        task = self.loop.create_task(coroutine)
        if name is not None and hasattr(task, "set_name"):
            task.set_name(name)
        self.kept.append(task)
        return task

    def future(self):
        future = self.loop.create_future()
        self.kept.append(future)
        return future

    def parked(self):
        self.unparked -= 1

    def run(self, shapes):
        """Starts the shapes as tasks; `asyncio.wait_for` and the like need one around them."""
        for shape in shapes:
            self.unparked += 1
            self.start(shape(self), shape.__name__)


async def parks(scene):
    await scene.future()


async def deep(scene, depth):
    if depth:
        return await deep(scene, depth - 1)
    await scene.future()


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


# --- what lies between a task and what it waits for -------------------------------------------------------------


async def async_generators(scene):
    async def numbers():
        for number in [1, 2]:
            yield number
            await parks(scene)

    async def twice():
        async for number in numbers():
            yield number * 2

    async def closes():
        async def waits_at_its_end():
            try:
                yield 1
            finally:
                await parks(scene)

        it = waits_at_its_end()
        await it.__anext__()
        await it.aclose()

    async def throws():
        async def waits_when_told():
            try:
                yield 1
            except KeyError:
                await parks(scene)
                yield 2

        it = waits_when_told()
        await it.asend(None)
        await it.athrow(KeyError("1"))

    async def sends():
        async def waits_when_sent():
            await parks((yield 1))

        it = waits_when_sent()
        await it.asend(None)
        await it.asend(scene)

    async def comprehension():
        return [number async for number in numbers() if number]

    for function in (closes, throws, sends, comprehension):
        scene.start(function())
    scene.parked()
    async for _ in twice():
        pass


class Wrapper(object):
    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return self.coroutine.__await__()


class Delegate(object):
    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        result = yield from self.coroutine.__await__()
        return result


class Opaque(object):
    """An iterator of the user's, whose inside nobody can know."""

    def __init__(self, future):
        self.future = future

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        self.future._asyncio_future_blocking = True
        return self.future

    def send(self, _value):
        return next(self)

    def throw(self, *_):
        raise StopIteration

    def close(self):
        pass


async def await_methods(scene):
    async def wrapper():
        await Wrapper(parks(scene))

    async def delegate():
        await Delegate(parks(scene))

    async def both():
        await Wrapper(Delegate.__await__ and delegate())

    async def opaque():
        await Opaque(scene.future())

    for function in (wrapper, delegate, both, opaque):
        scene.start(function())
    scene.parked()
    await Wrapper(deep(scene, 2))


async def opaque_coroutine(scene):
    import collections.abc

    class Made(Opaque, collections.abc.Coroutine):
        pass

    scene.start(Made(scene.future()), "made of an object")
    scene.parked()
    await parks(scene)


@types.coroutine
def from_coroutine(scene):
    yield from parks(scene)


@types.coroutine
def from_generator(scene):
    for _ in [1]:
        yield from from_coroutine(scene)


@types.coroutine
def bare(future):
    """Waits at a plain yield within a loop, whose iterator is nothing that it waits for."""
    for _ in [1, 2, 3]:
        future._asyncio_future_blocking = True
        yield future


@types.coroutine
def from_iterator(future):
    future._asyncio_future_blocking = True
    yield from [future, None]


async def generators(scene):
    async def awaits_bare():
        await bare(scene.future())

    async def awaits_iterator():
        await from_iterator(scene.future())

    scene.start(awaits_bare())
    scene.start(awaits_iterator())
    scene.parked()
    await from_generator(scene)


async def decorated_generators(scene):
    """asyncio.coroutine, which 3.11 has no more; with debug mode each is within a CoroWrapper."""
    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @asyncio.coroutine
        def old():
            yield from parks(scene)

    scene.start(old(), "old itself")
    scene.parked()
    await old()


async def anext_with_default(scene):
    async def waits():
        await parks(scene)
        yield 1

    class Iterator(object):
        async def __anext__(self):
            await parks(scene)

        def __aiter__(self):
            return self

    async def of_a_class():
        await anext(Iterator(), None)

    scene.start(of_a_class())
    scene.parked()
    await anext(waits(), 7)


async def context_managers(scene):
    import contextlib

    @contextlib.asynccontextmanager
    async def manager():
        await parks(scene)
        yield 1

    scene.parked()
    async with manager():
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
        shapes += [in_group, leaving_group, awaiting_child_of_group, barriers]
    return shapes
