"""Shapes of what lies between a task and what it waits for: generators of all kinds, and objects with `__await__`.

See tasks_shapes.py for what a shape is.
"""
import asyncio
import types

from tasks_scene import deep, parks


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
