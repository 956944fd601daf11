#!/usr/bin/env bash
# Who awaits an async generator by `await anext(generator, default)` hides all frames below from the readers of stacks
# of suspended tasks. `await anext(generator)`, without a default, hides nothing.
# Needs: python3 >= 3.11 with venv. PYTHON=... chooses another interpreter. Exit: 0 still so, 1 changed, 2 cannot run.
set -euo pipefail

PYTHON=${PYTHON:-python3}
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs python3 >= 3.11" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$PYTHON" -m venv env || { echo "no virtual environment could be made" >&2; exit 2; }
env/bin/pip -q --disable-pip-version-check install --no-deps trio==0.35.0 stackscope==0.2.2 attrs==26.1.0 \
    sortedcontainers==2.4.0 idna==3.20 outcome==1.3.0.post0 sniffio==1.3.1 typing_extensions==4.16.0 \
    || { echo "the packages could not be installed" >&2; exit 2; }

cat > waiting.py <<'PY'
import stackscope
import trio
import trio.testing


async def numbers():
    await trio.sleep_forever()
    yield 1


async def without_default(tasks):
    tasks["without default"] = trio.lowlevel.current_task()
    await anext(numbers())


async def with_default(tasks):
    tasks["with default"] = trio.lowlevel.current_task()
    await anext(numbers(), None)


async def main():
    tasks = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(without_default, tasks)
        nursery.start_soon(with_default, tasks)
        await trio.testing.wait_all_tasks_blocked()
        for kind in sorted(tasks, reverse=True):
            by_trio = [frame.f_code.co_name for frame, _ in tasks[kind].iter_await_frames()]
            by_stackscope = [frame.funcname for frame in stackscope.extract(tasks[kind]).frames]
            print(kind, "| trio:", *by_trio)
            print(kind, "| stackscope:", *by_stackscope)
        # What stands in the way: an awaitable that has neither a frame nor a way to what it awaits.
        awaited = tasks["with default"].coro.cr_await
        ways = ("cr_await", "gi_yieldfrom", "ag_await", "cr_frame", "gi_frame", "ag_frame")
        print("between:", type(awaited).__name__, *[way for way in ways if hasattr(awaited, way)])
        nursery.cancel_scope.cancel()


trio.run(main)
PY

cat > expected <<'TXT'
without default | trio: without_default numbers sleep_forever wait_task_rescheduled _real_async_yield
without default | stackscope: without_default numbers sleep_forever wait_task_rescheduled
with default | trio: with_default
with default | stackscope: with_default
between: anext_awaitable
TXT
env/bin/python waiting.py > seen

"$PYTHON" --version
env/bin/pip --disable-pip-version-check list | grep -E '^(trio|stackscope) '
echo "guessed: both tasks show numbers and what it waits for; a default changes only what the end of the loop gives."
echo "seen:"
sed 's/^/  /' seen
echo "matters: the stack is cut without an error, so a task that waits in a generator looks as if it waited itself."
diff -u expected seen || { echo "CHANGED" >&2; exit 1; }
echo "still so"
