"""Coroutines that tests have compiled by Cython or mypyc, as the module `compiled`."""

import asyncio
from typing import Any, AsyncIterator, Awaitable, Callable


async def sleeps(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def awaits(function: Callable[[], Awaitable[Any]]) -> None:
    await function()


class Session:
    async def fetch(self, seconds: float) -> None:
        await sleeps(seconds)

    async def encloses(self, seconds: float) -> None:
        async def inner() -> None:
            await sleeps(seconds + self.more())

        await inner()

    def more(self) -> float:
        return 1

    @classmethod
    async def begin(cls, seconds: float) -> None:
        await sleeps(seconds)


class Derived(Session):
    async def fetch(self, seconds: float) -> None:
        await sleeps(seconds)


async def encloses(seconds: float) -> None:
    async def inner() -> None:
        await sleeps(seconds)

    await inner()


async def keeps(seconds: float) -> None:
    later = sleeps(seconds)
    task = asyncio.ensure_future(sleeps(seconds))
    waiting = awaits(lambda: task)
    await waiting
    await later


async def computes(end: float, clock: Callable[[], float]) -> int:
    total = 0
    while clock() < end:
        for number in range(20000):
            total = (total + number) & 0xffff
    return total


# mypyc has no asynchronous generators: it gets what is above.


async def yields(seconds: float) -> AsyncIterator[int]:
    await asyncio.sleep(seconds)
    yield 1


async def iterates(seconds: float) -> None:
    async for _ in yields(seconds):
        pass
