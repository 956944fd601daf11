"""The places of known.py that Python 2 cannot write down. Every version from 3.6 on can."""
import asyncio
import sys

SINCE_3_8 = """
def walrus():
    if (
        number := several(1)
    ) and (other := park()):
        return number, other
"""
SINCE_3_10 = """
def matching():
    match several(1, 2):
        case (1, 3):
            pass
        case (
            1,
            number,
        ) if park():
            return number
"""
SINCE_3_11 = """
def in_group():
    try:
        raise ExceptionGroup("group", [ValueError(1), TypeError(2)])
    except* ValueError:
        several(1)
    except* TypeError:
        park()
"""
SINCE_3_12 = """
def generic():
    class Box[T]:
        def value[U](self, other: U) -> T:
            return park()
    return Box[int]().value(1)

def lazy_alias():
    type Lazy = (
        park()
    )
    return Lazy.__value__
"""
SINCE_3_14 = """
def annotated():
    def function(first: park()): pass
    return function.__annotations__
"""


def cases(park, several):
    async def leaf():
        park()

    async def middle():
        await leaf()

    async def outer():
        return [
            1,
            await middle(),
            2,
        ]

    def in_coroutine():
        outer().send(None)

    def in_event_loop():
        async def main():
            await asyncio.gather(outer(), asyncio.sleep(0))

        asyncio.new_event_loop().run_until_complete(main())

    async def numbers():
        yield 1
        park()
        yield 2

    def in_asynchronous_generator():
        async def consume():
            async for number in numbers():
                several(number)

        consume().send(None)

    def in_asynchronous_comprehension():
        async def consume():
            return [
                number
                async for number in numbers()
            ]

        consume().send(None)

    class Context:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            park()

    def in_asynchronous_with():
        async def enter():
            async with Context():
                several(1)

        enter().send(None)

    def delegating():
        yield from inner_generator()

    def inner_generator():
        yield from [1, 2]
        yield park()

    def in_delegation():
        return list(
            delegating()
        )

    def thrown_into():
        def catches():
            try:
                yield 1
            except ValueError:
                park()
        generator = catches()
        next(generator)
        generator.throw(ValueError())

    def closed():
        def cleans_up():
            try:
                yield 1
            finally:
                park()
        generator = cleans_up()
        next(generator)
        generator.close()

    def größe():
        park()

    class Meta(type):
        def __new__(cls, name, bases, namespace):
            park()
            return super().__new__(cls, name, bases, namespace)

    def in_metaclass():
        class Made(metaclass=Meta):
            pass

    def in_f_string():
        return f"{several(1)} {park()}"

    found = [
        in_coroutine, in_event_loop, in_asynchronous_generator, in_asynchronous_comprehension, in_asynchronous_with,
        in_delegation, thrown_into, closed, größe, in_metaclass, in_f_string,
    ]
    newer = [((3, 8), SINCE_3_8), ((3, 10), SINCE_3_10), ((3, 11), SINCE_3_11), ((3, 12), SINCE_3_12),
             ((3, 14), SINCE_3_14)]
    for version, source in newer:
        if sys.version_info >= version:
            scope = {}
            exec(compile(source, "since %d.%d.py" % version, "exec"), {"park": park, "several": several}, scope)
            found += scope.values()
    return found
