#!/usr/bin/env bash
# After `await greenback.ensure_portal()` the task's own coroutine is no longer in the task: asyncio and trio show a
# coroutine of greenback, and the chain of cr_await ends in it. No call of greenback.await_ is under way for this.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps greenback==1.3.0 greenlet==3.5.6 trio==0.35.0 \
    attrs==26.1.0 sortedcontainers==2.4.0 idna==3.20 outcome==1.3.0.post0 sniffio==1.3.1 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > waiting.py <<'PY'
import asyncio

import greenback
import trio
import trio.testing


def chain(coroutine):
    names = []
    while hasattr(coroutine, "__qualname__"):
        names.append(coroutine.__qualname__)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return names


async def handler(portal, wait):
    if portal:
        await greenback.ensure_portal()
    await wait()


async def in_asyncio():
    for portal in (False, True):
        event = asyncio.Event()
        task = asyncio.create_task(handler(portal, event.wait))
        for _ in range(10):
            await asyncio.sleep(0)
        frames = [frame.f_code.co_name for frame in task.get_stack()]
        print(f"asyncio portal={portal} get_stack:", *frames, "| cr_await:", *chain(task.get_coro()))
        event.set()
        await task


async def in_trio():
    for portal in (False, True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler, portal, trio.Event().wait)
            await trio.testing.wait_all_tasks_blocked()
            (task,) = nursery.child_tasks
            frames = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
            print(f"trio portal={portal} iter_await_frames:", *frames)
            nursery.cancel_scope.cancel()


asyncio.run(in_asyncio())
trio.run(in_trio)
PY

cat > expected <<'TXT'
asyncio portal=False get_stack: handler | cr_await: handler Event.wait
asyncio portal=True get_stack: greenback_shim | cr_await: greenback_shim _greenback_shim
trio portal=False iter_await_frames: handler wait wait_task_rescheduled _real_async_yield
trio portal=True iter_await_frames: greenback_shim _greenback_shim
TXT
env/bin/python waiting.py > seen

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(greenback|greenlet|trio) '
echo "guessed: a portal adds a greenlet only while await_ runs; a task that waits by await shows the same as before."
echo "seen:"
sed 's/^/  /' seen
echo "matters: the shim drives the coroutine by send(), so no attribute leads to it: all tasks with a portal look"
echo "  alike, and what they wait for is not in a stack read along cr_await."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
