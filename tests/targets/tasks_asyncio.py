"""A program of asyncio that stands still and tells what its tasks are.

usage: tasks_asyncio.py PROGRAM [uvloop] [python | subclass | eager | debug]...

With `python` there is no extension module `_asyncio`, as in a build without it: tasks, futures and the registries are
those written in Python.

After `ready` it answers each line: `clock` with the loop's time, `tasks` with a line of JSON (see tasks_oracle.py).

PROGRAM:
    shapes           every shape of tasks_shapes.py that this version has, or those whose names are joined by `+`
    states           tasks in every state, while one of them blocks the thread
    eager_states     a task that was started eagerly blocks the thread within the one that made it
    threads          a loop in each of two threads, and one whose thread has ended
    interpreters     a loop in the main interpreter and one in another
    many             5000 tasks of three kinds
"""
import gc
import json
import os
import sys
import threading
import traceback

if "python" in sys.argv[2:]:
    sys.modules["_asyncio"] = None

import asyncio

import tasks_oracle
import tasks_shapes
from tasks_scene import Scene, deep, parks


def new_loop(options):
    if "uvloop" in options:
        import uvloop
        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    if "debug" in options:
        loop.set_debug(True)
    if "eager" in options:
        loop.set_task_factory(asyncio.eager_task_factory)
    if "subclass" in options:
        derived = type("Derived", (asyncio.Task,), {"more": 1, "__doc__": "A task of the user's."})
        loop.set_task_factory(lambda loop, coroutine, **options: derived(coroutine, loop=loop, **options))
    return loop


def poll_until(scene, is_settled, done):
    """Calls `done` from the loop when every task waits; then nothing is left that the loop would do."""

    def all_wait():
        tasks = asyncio.all_tasks(scene.loop)
        return all(task._fut_waiter is not None and not task._fut_waiter.done() for task in tasks)

    def poll():
        if scene.unparked == 0 and all_wait() and is_settled():
            done()
        else:
            scene.loop.call_later(0.002, poll)

    poll()


def stand(options, shapes, done, loops):
    """Runs a loop with the shapes for ever."""
    loop = new_loop(options)
    loops.append(tasks_oracle.Loop(loop))
    scene = Scene(loop)
    asyncio.set_event_loop(loop)

    def begin():
        scene.run(shapes)
        poll_until(scene, lambda: True, done)

    if "eager" in options:
        # A task is started eagerly only where another runs.
        async def first():
            begin()
            await parks_for_ever(scene)

        scene.main = loop.create_task(first())
    else:
        loop.call_soon(begin)
    loop.run_forever()


async def parks_for_ever(scene):
    await scene.future()


def answer(loops, more=lambda: []):
    """Answers on stdin until it ends; runs in a thread, so that the loops stand still in their selectors."""
    print("ready")
    sys.stdout.flush()
    try:
        for line in iter(sys.stdin.readline, ""):
            if line.strip() == "clock":
                # time() of any loop: the clock is that of the system.
                print(json.dumps(loops[0].loop.time()))
            else:
                report = tasks_oracle.report(loops)
                report["tasks"] += more()
                print(json.dumps(report))
            sys.stdout.flush()
    except Exception:
        # The loops would wait for ever, and who asked with them.
        traceback.print_exc()
        os._exit(1)


def answer_when(event, loops, more=lambda: []):
    def run():
        event.wait()
        # What is left of the shapes' setup is gone, so that no task ends because of the collector.
        gc.collect()
        gc.disable()
        answer(loops, more)

    thread = threading.Thread(target=run, name="oracle")
    thread.daemon = True
    thread.start()


def shapes(options, names):
    chosen = [shape for shape in tasks_shapes.every() if not names or shape.__name__ in names]
    assert len(chosen) >= len(names), names
    settled, loops = threading.Event(), []
    answer_when(settled, loops)
    stand(options, chosen, settled.set, loops)


async def many_sleepers(scene):
    lock = asyncio.Lock()
    await lock.acquire()

    async def handler(number):
        if number % 3 == 0:
            await asyncio.sleep(3000 + number)
        elif number % 3 == 1:
            await lock.acquire()
        else:
            await deep(scene, 3)

    tasks = [scene.start(handler(number)) for number in range(5000)]
    scene.parked()
    await asyncio.gather(*tasks)


def many(options):
    settled, loops = threading.Event(), []
    answer_when(settled, loops)
    stand(options, [many_sleepers], settled.set, loops)


def threads(options):
    chosen = [tasks_shapes.gathering, tasks_shapes.locks, tasks_shapes.sleeping]
    loops, events = [], []

    def start(target, name):
        events.append(threading.Event())
        thread = threading.Thread(target=target, args=(events[-1],), name=name)
        thread.daemon = True
        thread.start()
        return thread

    def stays(event):
        stand(options, chosen, event.set, loops)

    def leaves(event):
        def stop():
            event.set()
            loops[-1].loop.stop()

        stand(options, chosen, stop, loops)

    leaving = start(leaves, "leaves its loop behind")
    leaving.join()
    loops[0].left = True
    for number in range(2):
        start(stays, "loop %d" % number)
        events[-1].wait()
    answer(loops)


IN_INTERPRETER = """
import asyncio, json, os, sys
sys.path[:0] = %(path)r
import tasks_asyncio, tasks_oracle, tasks_shapes

loops = []

def settled():
    loops[0].loop.add_reader(%(asked)d, answer)
    os.write(%(told)d, b"ready\\n")

def answer():
    os.read(%(asked)d, 1)
    tasks = tasks_oracle.report(loops, %(number)d)["tasks"]
    os.write(%(told)d, json.dumps(tasks).encode() + b"\\n")

chosen = [tasks_shapes.gathering, tasks_shapes.locks, tasks_shapes.async_generators]
tasks_asyncio.stand(%(options)r, chosen, settled, loops)
"""


def interpreters(options):
    try:
        import _interpreters as module
    except ImportError:
        import _xxsubinterpreters as module
    (asked, ask), (hear, told) = os.pipe(), os.pipe()
    hear = os.fdopen(hear)
    number = module.create()
    source = IN_INTERPRETER % {
        "path": sys.path, "asked": asked, "told": told, "number": int(number), "options": options,
    }

    def run():
        failure = module.run_string(number, source)
        sys.stderr.write("the interpreter has ended: %r\n" % (failure,))

    thread = threading.Thread(target=run, name="other interpreter")
    thread.daemon = True
    thread.start()
    assert hear.readline() == "ready\n"

    def more():
        os.write(ask, b"?")
        return json.loads(hear.readline())

    settled, loops = threading.Event(), []
    answer_when(settled, loops, more)
    stand(options, [tasks_shapes.gathering, tasks_shapes.sleeping], settled.set, loops)


# --- a thread that is blocked by one of its tasks ---------------------------------------------------------------

never, _written = os.pipe()


def hold(settled):
    """Blocks the thread: what is ready stays ready."""
    settled.set(); os.read(never, 1)


async def holds(settled):
    hold(
        settled)


def states(options):
    settled, loops = threading.Event(), []
    loop = new_loop(options)
    loops.append(tasks_oracle.Loop(loop))
    scene = Scene(loop)
    answer_when(settled, loops)

    async def ends():
        return 1

    async def spins():
        while True:
            await asyncio.sleep(0)

    async def awaits(future):
        await future

    async def main():
        scene.start(parks(scene), "waits")
        scene.start(spins(), "spins")
        spinning = scene.start(spins(), "spins until it is cancelled")
        waiting = scene.start(parks(scene), "waits until it is cancelled")
        scene.start(ends(), "ended")
        resolved = loop.create_future()
        scene.start(awaits(resolved), "waits for what is there")
        for _ in range(3):
            await asyncio.sleep(0)
        # Ready: nothing has told them yet.
        resolved.set_result(1)
        spinning.cancel()
        waiting.cancel()
        # A factory that starts them at once would run them here.
        loop.set_task_factory(None)
        scene.start(parks(scene), "never ran")
        cancelled = scene.start(parks(scene), "never ran and was cancelled")
        cancelled.cancel()
        await holds(settled)

    asyncio.set_event_loop(loop)
    scene.main = loop.create_task(main())
    loop.run_forever()


def eager_states(options):
    settled, loops = threading.Event(), []
    loop = new_loop(options)
    loops.append(tasks_oracle.Loop(loop))
    scene = Scene(loop)
    answer_when(settled, loops)

    async def main():
        scene.start(parks(scene), "started eagerly")
        scene.start(holds(settled), "holds the thread")

    asyncio.set_event_loop(loop)
    scene.main = loop.create_task(main())
    loop.run_forever()


if __name__ == "__main__":
    program, chosen_options = sys.argv[1], sys.argv[2:]
    others = {
        "states": states, "eager_states": eager_states, "threads": threads, "interpreters": interpreters, "many": many,
    }
    if program in others:
        others[program](chosen_options)
    else:
        shapes(chosen_options, [] if program == "shapes" else program.split("+"))
