"""Makes and ends tasks of asyncio without end, some 2000 a second.

usage: tasks_churn.py [MILLISECONDS a round, 10]

The task named `churn-N` runs `outer_N % 7`, which awaits `inner_N % 7` of the same number, which sleeps: whatever pairs
a name with the functions of another number, or a function with the line of another, never was. Names are never used
again. Each line on stdin is answered with the numbers made so far, `FIRST LIVING, NEXT`: no task outside of them lives.
"""
import asyncio
import sys
import threading

SOURCE = """
async def inner_%(number)d(seconds):
%(empty)s
    await asyncio.sleep(seconds)


async def outer_%(number)d(seconds):
%(empty)s
    await inner_%(number)d(seconds)
"""
KINDS = 7
scope = {"asyncio": asyncio}
for kind in range(KINDS):
    # Each has lines of its own.
    text = SOURCE % {"number": kind, "empty": "\n" * (10 * kind)}
    exec(compile(text, "churn_%d.py" % kind, "exec"), scope)

made = 0
living = {}


def make(loop, seconds):
    global made
    number = made
    made += 1
    task = loop.create_task(scope["outer_%d" % (number % KINDS)](seconds))
    if hasattr(task, "set_name"):
        task.set_name("churn-%d" % number)
    living[number] = task
    task.add_done_callback(lambda _: living.pop(number))


def answer():
    print("ready")
    sys.stdout.flush()
    for _ in iter(sys.stdin.readline, ""):
        print("%d %d" % (min(list(living) or [made]), made))
        sys.stdout.flush()


async def main(milliseconds):
    loop = asyncio.get_event_loop()
    thread = threading.Thread(target=answer)
    thread.daemon = True
    thread.start()
    while True:
        for number in range(2 * milliseconds):
            make(loop, 0.001 * (number % 20))
        await asyncio.sleep(0.001 * milliseconds)


asyncio.new_event_loop().run_until_complete(main(int((sys.argv[1:] or ["10"])[0])))
