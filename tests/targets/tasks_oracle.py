"""What Python itself says of the tasks of event loops: the truth that the tests compare with.

`report` must be called while the loops stand still: from a thread beside them, or from a callback of the loop.
"""
import asyncio
import concurrent.futures
import functools
import inspect
import os
import sys
import threading

from tasks_chain import chain, chain_frames, coroutine_state, frame_entry

GATHERING = asyncio.tasks._GatheringFuture
GROUP = getattr(asyncio, "TaskGroup", ())
PYTHON_FUTURE_FILE = asyncio.futures.__file__


class Loop(object):
    """A loop, and the thread that runs it."""

    def __init__(self, loop):
        self.loop = loop
        self.ident = threading.current_thread().ident
        self.native = int(os.readlink("/proc/thread-self").split("/")[-1])
        # The thread has left the loop behind.
        self.left = False


def report(loops, interpreter=0):
    """A value for JSON: every task of the loops, and what its fields must be."""
    tasks = []
    for known in loops:
        for task in sorted(all_tasks(known.loop), key=id):
            tasks.append((known, task))
    # By the future that a callback of theirs holds: the tasks that whoever waits for it waits for.
    told = {}
    for _, task in tasks:
        if not task.done():
            for held in held_by_callbacks(task):
                told.setdefault(id(held), []).append(task)
    # By the task that waits: the tasks that say themselves that it does (3.14 and later), whatever its future is. Those
    # of a group say so of whoever has opened it, whatever that does at the moment.
    said = {}
    for _, task in tasks:
        for awaiter in getattr(task, "_asyncio_awaited_by", None) or ():
            if group_of(task) != id(awaiter):
                said.setdefault(id(awaiter), []).append(id(task))
    described = [describe(known, task, interpreter, told, said) for known, task in tasks]
    now = loops[0].loop.time()
    invert(described)
    return {"now": now, "tasks": described}


def all_tasks(loop):
    """Those that have not ended, and those that have and are still in the registry."""
    found = set(asyncio.all_tasks(loop))
    for registry in ("_all_tasks", "_scheduled_tasks", "_eager_tasks"):
        for task in list(getattr(asyncio.tasks, registry, ())):
            if task.get_loop() is loop if hasattr(task, "get_loop") else task._loop is loop:
                found.add(task)
    return found


def describe(known, task, interpreter, told, said):
    coroutine = task._coro
    state = state_of(known, task)
    running = state == "running"
    entries, end = running_chain(known, task) if running else chain(coroutine)
    awaits, maybe = awaited(task, told)
    awaits = sorted(set(awaits + left_group(task)))
    maybe = sorted(set(maybe + said.get(id(task), [])) - set(awaits))
    return {
        "id": id(task),
        "name": task.get_name() if hasattr(task, "get_name") else None,
        "state": state,
        "coroutine": name_of(coroutine),
        "coroutine_type": type(coroutine).__name__,
        "loop": id(known.loop),
        "thread_id": None if known.left else known.ident,
        "os_thread_id": None if known.left else known.native,
        "interpreter": interpreter,
        # Newest first.
        "frames": entries[::-1],
        "waits": waits(task, entries, end) if state == "waiting" else None,
        "awaits": awaits,
        "may_await": maybe,
        "group_of": group_of(task),
        "graph_agrees": graph_agrees(task, coroutine) if state in ("waiting", "new") else None,
    }


def name_of(coroutine):
    # Debug mode up to 3.10 puts generators into an object of its own, which gives itself the name of what it holds.
    if type(coroutine).__name__ == "CoroWrapper":
        return "CoroWrapper"
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__name__


def state_of(known, task):
    if task.done():
        return "done"
    coroutine = task._coro
    if asyncio.current_task(known.loop) is task or coroutine_state(coroutine) == "CORO_RUNNING":
        return "running"
    if task._must_cancel:
        return "cancelling"
    if coroutine_state(coroutine) == "CORO_CREATED":
        return "new"
    # The future that it waits for may have its result already; then the task is only not called back yet.
    if task._fut_waiter is not None and not task._fut_waiter.done():
        return "waiting"
    return "ready"


# --- frames -----------------------------------------------------------------------------------------------------


def running_chain(known, task):
    """The entries from the coroutine of a task that runs to the newest frame of its thread.

    Other tasks that run inside of it, which eager ones do, are theirs.
    """
    frame = sys._current_frames()[known.ident]
    roots = {other._coro.cr_frame: other for other in all_tasks(known.loop) if hasattr(other._coro, "cr_frame")}
    entries = []
    while frame is not None:
        entries.append(frame_entry(frame))
        root = roots.get(frame)
        if root is task:
            return entries[::-1], None
        if root is not None:
            entries = []
        frame = frame.f_back
    raise AssertionError("a task that runs has no frame on its thread")


def graph_agrees(task, coroutine):
    """Whether asyncio's own call graph (3.14+) begins as our chain does; None where there is none.

    It knows coroutines and async generators only, so it may end sooner.
    """
    if not hasattr(asyncio, "capture_call_graph") or not inspect.iscoroutine(coroutine):
        return None
    try:
        graph = asyncio.capture_call_graph(task)
    except (RecursionError, TypeError):
        # Of tasks that wait for each other it finds no end, and those written in Python it takes for no tasks.
        return None
    theirs = [frame_entry(entry.frame) for entry in graph.call_stack]
    ours = chain(coroutine)[0]
    # Outermost first here, innermost first there.
    return theirs == ours[:len(theirs)] or theirs[::-1] == ours[:len(theirs)]


# --- who waits for whom -----------------------------------------------------------------------------------------


def awaited(task, told):
    """Ids of the tasks that it awaits by what anybody can see, and of those that only a callback of theirs tells."""
    if task.done() or task._fut_waiter is None:
        return [], []
    certain = []
    collect(task._fut_waiter, certain, 0)
    certain = set(id(other) for other in certain if not other.done())
    maybe = set()
    for other in told.get(id(task._fut_waiter), ()):
        # From 3.14 on the awaited one knows: what its callback tells is certain where its own field says so, too.
        knows = task in (getattr(other, "_asyncio_awaited_by", None) or ())
        (certain if knows else maybe).add(id(other))
    return sorted(certain), sorted(maybe - certain)


def left_group(task):
    """Ids of the tasks of the group whose end it waits for: of the innermost that it is leaving."""
    frames = chain_frames(task._coro) if not task.done() and task._fut_waiter is not None else ()
    for frame in reversed(frames):
        owner = frame.f_locals.get("self")
        if is_group(owner) and frame.f_code.co_name in ("__aexit__", "_aexit"):
            # Up to 4.0 anyio's has them in its scope only, and itself with them.
            held = owner._tasks if hasattr(owner, "_tasks") else owner.cancel_scope._tasks
            return [id(other) for other in held if not other.done() and other is not task]
    return []


def is_group(thing):
    """Whether it is a `TaskGroup`, asyncio's or anyio's."""
    anyio = sys.modules.get("anyio.abc")
    return isinstance(thing, GROUP) or anyio is not None and isinstance(thing, anyio.TaskGroup)


def collect(future, into, depth):
    if future is None or depth > 10:
        return
    if isinstance(future, asyncio.Task) or hasattr(future, "_coro"):
        into.append(future)
    elif isinstance(future, GATHERING):
        for child in future._children:
            collect(child, into, depth + 1)


def callbacks_of(future):
    return [entry[0] if isinstance(entry, tuple) else entry for entry in getattr(future, "_callbacks", None) or ()]


def held_by_callbacks(future):
    """Futures that are in the closures and arguments of the callbacks of a future."""
    for callback in callbacks_of(future):
        function = callback
        if isinstance(callback, functools.partial):
            for argument in callback.args:
                yield argument
            function = callback.func
        for cell in getattr(function, "__closure__", None) or ():
            try:
                yield cell.cell_contents
            except ValueError:
                pass


def group_of(task):
    for callback in callbacks_of(task):
        owner = getattr(callback, "__self__", None)
        if GROUP and isinstance(owner, GROUP):
            return id(owner._parent_task)
    for owner in held_by_callbacks(task):
        if is_group(owner):
            return id(owner.cancel_scope._host_task)
    return None


def invert(described):
    for entry in described:
        entry["awaited_by"] = []
        entry["may_be_awaited_by"] = []
    by_id = {entry["id"]: entry for entry in described}
    for entry in described:
        for other in entry["awaits"]:
            by_id[other]["awaited_by"].append(entry["id"])
        for other in entry["may_await"]:
            by_id[other]["may_be_awaited_by"].append(entry["id"])
    for entry in described:
        entry["awaited_by"].sort()


# --- what it waits in -------------------------------------------------------------------------------------------

# By the class of `self` in a frame of asyncio; the first that fits from the outside wins, so that a barrier is not a
# condition.
HOLDERS = [
    (getattr(asyncio, "Barrier", ()), "barrier"),
    (asyncio.Condition, "condition"),
    (asyncio.Semaphore, "semaphore"),
    (asyncio.Lock, "lock"),
    (asyncio.Event, "event"),
    (asyncio.Queue, "queue"),
    (asyncio.StreamReader, "socket"),
]


def waits(task, entries, end):
    """Kind and object, each as a list of what is right; when it ends by itself, in the loop's own time."""
    if end is not None:
        return {"kinds": None, "objects": None, "when": None}
    frames = chain_frames(task._coro)
    future = task._fut_waiter
    if isinstance(future, asyncio.Task) or hasattr(future, "_coro"):
        return right(["task"], [id(future)])
    if isinstance(future, GATHERING):
        return right(["gather"], [id(future), None])
    for cell in held_by_callbacks(future):
        if isinstance(cell, concurrent.futures.Future):
            return right(["executor"], [id(cell), id(future), None])
    innermost = frames[-1]
    # A Python future is awaited in a generator of its own.
    while len(frames) > 1 and innermost.f_code.co_filename == PYTHON_FUTURE_FILE:
        frames = frames[:-1]
        innermost = frames[-1]
    if innermost.f_code is asyncio.sleep.__code__:
        handle = innermost.f_locals["h"]
        # uvloop's timers keep the time where only they know; and a time without end is no number of JSON.
        tells = isinstance(handle, asyncio.TimerHandle) and handle.when() < float("inf")
        return right(["sleep"], None, handle.when() if tells else None)
    of_anyio = waits_in_anyio(frames, future)
    if of_anyio is not None:
        return of_anyio
    in_asyncio = []
    for frame in reversed(frames):
        if os.path.dirname(frame.f_code.co_filename) != os.path.dirname(asyncio.__file__):
            break
        in_asyncio.append(frame)
    found = []
    for frame in reversed(in_asyncio):
        owner = frame.f_locals.get("self")
        for kind, word in HOLDERS:
            if kind and isinstance(owner, kind):
                found.append((word, id(owner)))
        if GROUP and isinstance(owner, GROUP):
            return right(["group"], [id(owner), None])
    if found and found[0][0] in ("barrier", "queue"):
        # A queue's join waits in its event: both are true.
        objects = [identity for word, identity in found] if found[0][0] == "queue" else [found[0][1]]
        return right([word for word, _ in found] if found[0][0] == "queue" else ["barrier"], objects)
    if found and found[-1][0] == "socket":
        return right(["socket"], None)
    if found:
        # An event of anyio's has one of asyncio's.
        above = [id(frame.f_locals.get("self")) for frame in frames[:-1]]
        return right([found[-1][0]], [found[-1][1]] + above[-1:])
    if in_asyncio:
        # wait, wait_for up to 3.11, loop.sock_recv: what it is for only a callback knows.
        return right(["future", "callback", "socket", "server", "task", "wait", "queue"], None)
    # What anyio's `TaskGroup.start` waits for the task tells that it has started.
    return right(["future", "callback", "shield"] + ["task"] * ("anyio" in sys.modules), [id(future), None])


def waits_in_anyio(frames, future):
    """The same by the innermost frame of anyio's that is more than an event; None where there is none."""
    if "anyio" not in sys.modules:
        return None
    import anyio
    import anyio.abc
    import anyio.streams.memory as memory
    kinds = [
        (anyio.Lock, "lock"),
        ((anyio.Semaphore, anyio.CapacityLimiter), "semaphore"),
        (anyio.Condition, "condition"),
        ((memory.MemoryObjectReceiveStream, memory.MemoryObjectSendStream), "queue"),
        ((anyio.abc.SocketStream, anyio.abc.SocketListener, anyio.abc.UDPSocket), "socket"),
    ]
    for frame in reversed(frames):
        packages = os.path.dirname(frame.f_code.co_filename).split(os.sep)[-2:]
        if "anyio" not in packages and "asyncio" not in packages:
            return None
        owner = frame.f_locals.get("self")
        if is_group(owner) and "anyio" in packages:
            return right(["group"], None) if frame.f_code.co_name == "__aexit__" else None
        if frame.f_code.co_name == "run_sync_in_worker_thread":
            return right(["executor"], [id(future)])
        for kind, word in kinds:
            if isinstance(owner, kind):
                return right([word], [id(owner)])
    return None


def right(kinds, objects, when=None):
    return {"kinds": kinds, "objects": objects, "when": when}
