"""Tasks that call plain functions that await: through SQLAlchemy's `greenlet_spawn` and through greenback.

usage: tasks_bridges.py sqlalchemy|greenback
"""
import asyncio
import sys


async def query():
    await asyncio.sleep(3600)


def of_sqlalchemy():
    from sqlalchemy.util import await_only, greenlet_spawn

    def flush():
        await_only(query())

    def commit():
        flush()

    async def request():
        await greenlet_spawn(commit)

    return request


def of_greenback():
    import greenback

    def flush():
        greenback.await_(query())

    def commit():
        flush()

    async def request():
        await greenback.ensure_portal()
        commit()

    return request


async def main():
    request = {"sqlalchemy": of_sqlalchemy, "greenback": of_greenback}[sys.argv[1]]()
    tasks = [asyncio.ensure_future(request()) for _ in range(3)]
    # Until each has come as far as it will.
    for _ in range(10):
        await asyncio.sleep(0)
    print("ready")
    sys.stdout.flush()
    await asyncio.gather(*tasks)


asyncio.new_event_loop().run_until_complete(main())
