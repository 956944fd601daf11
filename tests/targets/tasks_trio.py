"""A program of trio, or of anyio, that stands still and tells what its tasks are.

usage: tasks_trio.py trio | anyio | anyio-asyncio

After `ready` it answers each line: `clock` with the time of the monotonic clock, any other with a line of JSON as
tasks_oracle.py makes it. anyio on asyncio makes tasks of asyncio, so tasks_oracle.py itself answers for them.
"""
import json
import os
import sys
import threading
import time
import traceback

from tasks_chain import chain, chain_frames, coroutine_state


class Run(object):
    """What is known of a run of trio to the thread that answers for it."""

    def __init__(self, root):
        self.root = root
        self.ident = threading.current_thread().ident
        self.native = int(os.readlink("/proc/thread-self").split("/")[-1])

    def tasks(self):
        found, left = [], [self.root]
        while left:
            task = left.pop()
            found.append(task)
            for nursery in task.child_nurseries:
                left.extend(nursery.child_tasks)
        return found

    def stands_still(self):
        return all(task._abort_func is not None for task in self.tasks())

    def report(self):
        described = {id(task): self.describe(task) for task in self.tasks()}
        for entry in described.values():
            for other in entry["may_await"]:
                described[other]["may_be_awaited_by"].append(entry["id"])
        return {"now": time.monotonic(), "tasks": list(described.values())}

    def describe(self, task):
        entries, end = chain(task.coro)
        state = state_of(task)
        return {
            "id": id(task),
            "name": task.name,
            "state": state,
            "coroutine": getattr(task.coro, "__qualname__", None) or type(task.coro).__name__,
            "thread_id": self.ident,
            "os_thread_id": self.native,
            "interpreter": 0,
            "frames": entries[::-1],
            "waits": waits(task) if state == "waiting" and end is None else None,
            "awaits": [],
            "awaited_by": [],
            "may_await": ids_left(task),
            "may_be_awaited_by": [],
            "group_of": id(task.parent_nursery.parent_task) if task.parent_nursery else None,
            "graph_agrees": None,
        }


def ids_left(task):
    """Of the tasks of the nursery whose end it waits for."""
    for frame in chain_frames(task.coro):
        if frame.f_code.co_name == "_nested_child_finished":
            return [id(child) for child in frame.f_locals["self"].child_tasks]
    return []


def state_of(task):
    if coroutine_state(task.coro) == "CORO_RUNNING":
        return "running"
    if coroutine_state(task.coro) == "CORO_CREATED":
        return "new"
    return "waiting" if task._abort_func is not None else "ready"


def waits(task):
    import trio
    holders = [(trio.Event, "event"), (trio.Lock, "lock"), (trio.Semaphore, "semaphore"), (trio.Condition, "condition")]
    frames = chain_frames(task.coro)
    names = [frame.f_code.co_name for frame in frames]
    if "sleep" in names:
        return {"kinds": ["sleep"], "objects": None, "when": None}
    if "anyio" in sys.modules:
        import anyio.streams.memory as memory
        holders = [((memory.MemoryObjectReceiveStream, memory.MemoryObjectSendStream), "queue")] + holders
    for frame in frames:
        owner = frame.f_locals.get("self")
        for kind, word in holders:
            if isinstance(owner, kind):
                return {"kinds": [word], "objects": [id(owner)], "when": None}
    return {"kinds": None, "objects": None, "when": None}


def answer(stands_still, report):
    try:
        while not stands_still():
            time.sleep(0.001)
        print("ready")
        sys.stdout.flush()
        for line in iter(sys.stdin.readline, ""):
            print(json.dumps(time.monotonic() if line.strip() == "clock" else report()))
            sys.stdout.flush()
    except Exception:
        # Who asked would wait for ever.
        traceback.print_exc()
        os._exit(1)


def answer_in_thread(*functions):
    thread = threading.Thread(target=answer, args=functions, name="oracle")
    thread.daemon = True
    thread.start()


# --- trio -------------------------------------------------------------------------------------------------------


async def deep(depth, last):
    if depth:
        return await deep(depth - 1, last)
    await last()


async def of_trio():
    import trio
    import trio.testing
    event, lock, semaphore, condition = trio.Event(), trio.Lock(), trio.Semaphore(0), trio.Condition()
    limiter = trio.CapacityLimiter(1)
    sender, receiver = trio.open_memory_channel(0)
    full_sender, _full_receiver = trio.open_memory_channel(0)
    one, _other = trio.socket.socketpair()
    gate = threading.Lock()
    gate.acquire()

    async def nests():
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever)
            inner.start_soon(trio.sleep, 4000)
            with trio.move_on_after(5000):
                await deep(
                    3,
                    event.wait,
                )

    async def leaves():
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever, name="child of one that leaves")

    async def two_nurseries():
        async with trio.open_nursery() as outer:
            outer.start_soon(trio.sleep_forever, name="outer child")
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever, name="inner child")

    async def wants_lock():
        async with lock:
            pass

    async def wants_condition():
        async with condition:
            await condition.wait()

    async def wants_capacity():
        async with limiter:
            pass

    async def receives():
        async for _ in receiver:
            pass

    async def starting(task_status=trio.TASK_STATUS_IGNORED):
        await trio.sleep_forever()

    async def starts():
        async with trio.open_nursery() as inner:
            await inner.start(starting)

    async def numbers():
        yield 1
        await event.wait()

    async def iterates():
        async for _ in numbers():
            pass

    async def in_scope_that_is_shielded():
        with trio.CancelScope() as scope:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(3000)

    await lock.acquire()
    await limiter.acquire()
    async with trio.open_nursery() as nursery:
        functions = [
            nests, leaves, two_nurseries, wants_lock, wants_condition, wants_capacity, receives, starts, iterates,
            in_scope_that_is_shielded, semaphore.acquire, event.wait,
        ]
        for function in functions:
            nursery.start_soon(function)
        nursery.start_soon(full_sender.send, 1)
        nursery.start_soon(one.recv, 10)
        nursery.start_soon(trio.to_thread.run_sync, gate.acquire)
        nursery.start_soon(trio.sleep, 5000, name="a name with \"quotes\" and \u7dda")
        await trio.testing.wait_all_tasks_blocked()
        # What is left of a task that ended lives until the collector comes.
        run = Run(trio.lowlevel.current_root_task())
        answer_in_thread(run.stands_still, run.report)
        await trio.sleep_forever()


# --- anyio ------------------------------------------------------------------------------------------------------


async def of_anyio(backend):
    import anyio
    import anyio.abc
    event, lock, limiter = anyio.Event(), anyio.Lock(), anyio.CapacityLimiter(1)
    _sender, receiver = anyio.create_memory_object_stream(0)

    async def sleeps():
        with anyio.move_on_after(5000):
            await anyio.sleep(4000)

    async def nests():
        async with anyio.create_task_group() as inner:
            inner.start_soon(anyio.sleep_forever)
            inner.start_soon(event.wait, name="waits for the event")

    async def wants_lock():
        async with lock:
            pass

    async def wants_capacity():
        async with limiter:
            pass

    async def starting(task_status):
        await event.wait()

    async def starts():
        async with anyio.create_task_group() as inner:
            await inner.start(starting)

    await lock.acquire()
    await limiter.acquire()
    functions = [sleeps, nests, wants_lock, wants_capacity, starts, receiver.receive]
    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(function)
        await anyio.wait_all_tasks_blocked()
        if backend == "trio":
            import trio
            run = Run(trio.lowlevel.current_root_task())
            answer_in_thread(run.stands_still, run.report)
        else:
            import asyncio
            import tasks_oracle
            loop = asyncio.get_event_loop()
            loops = [tasks_oracle.Loop(loop)]

            def stands_still():
                futures = [task._fut_waiter for task in asyncio.all_tasks(loop)]
                return all(future is not None and not future.done() for future in futures)

            answer_in_thread(stands_still, lambda: tasks_oracle.report(loops))
        await event.wait()


def main(library):
    if library == "trio":
        import trio
        trio.run(of_trio)
    else:
        import anyio
        backend = library.partition("-")[2] or "trio"
        anyio.run(of_anyio, backend, backend=backend)


main(sys.argv[1])
