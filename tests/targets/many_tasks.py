"""Very many tasks or greenlets, each of which has called functions: `many_tasks.py tasks|greenlets COUNT DEPTH`."""
import sys


def sleep_deep(depth):
    import asyncio

    async def below(depth):
        if depth:
            return await below(depth - 1)
        await asyncio.sleep(3600)

    return below(depth)


def run_tasks(count, depth):
    import asyncio

    async def run():
        tasks = [asyncio.ensure_future(sleep_deep(depth)) for _ in range(count)]
        await asyncio.sleep(0)
        print("ready")
        sys.stdout.flush()
        await asyncio.wait(tasks)

    asyncio.run(run())


def run_greenlets(count, depth):
    import greenlet

    def below(depth):
        if depth:
            return below(depth - 1)
        greenlet.getcurrent().parent.switch()

    kept = [greenlet.greenlet(below) for _ in range(count)]
    for one in kept:
        one.switch(depth)
    print("ready")
    sys.stdout.flush()
    sys.stdin.read()


{"tasks": run_tasks, "greenlets": run_greenlets}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
