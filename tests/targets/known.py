# -*- coding: utf-8 -*-
"""Parks one thread in each kind of place that code can be in, and tells what Python itself says of where they are.

After `ready` comes a line of JSON, a list of threads: name, ident, native_id, frames; a frame is name, filename, line,
newest first.
"""
import functools
import json
import os
import sys
import threading
import time

gate = threading.Lock()
gate.acquire()
parked = threading.Semaphore(0)
native_ids = {}


def get_ident():
    return threading.current_thread().ident


def native_id():
    # PID/task/TID: there is no threading.get_native_id before 3.8.
    return int(os.readlink("/proc/thread-self").split("/")[-1])


def park(*_, **__):
    # On one line, so that it does not matter how far a thread has come once it is in no function of `threading`.
    native_ids[get_ident()] = native_id(); parked.release(); gate.acquire()


def plain():
    first = 1
    if first:
        park()
    return first


def multi_line_sum():
    return (
        1
        + park()
        + 2
    )


def several(*arguments):
    return arguments


def multi_line_arguments():
    return several(
        1,
        [
            2,
            several(3,
                    park(),
                    4),
        ],
        5,
    )


def multi_line_call():
    return several(
        1,
        2,
    ), park(
        3,
        4,
    )


def generator():
    yield 1
    park()
    yield 2


def in_generator():
    for number in generator():
        several(number)


def in_generator_expression():
    return sum(
        park() or number
        for number in range(3)
    )


def in_list():
    return [
        park()
        for _ in range(3)
        if True
    ]


def in_set_and_dictionary():
    return {key: {park() for _ in range(2)} for key in range(2)}


def recursion(depth=50):
    if depth == 0:
        park()
    else:
        recursion(
            depth - 1)


in_lambda = lambda: (
    several(1),
    park(),
)


def called_back_by_c():
    return sorted([3, 2, 1], key=park)


def in_partial():
    return list(map(functools.partial(park, 1), [1]))


class Thing(object):
    def __init__(self):
        self.park()

    @staticmethod
    def park():
        park()

    def __getattr__(self, name):
        park()

    @property
    def value(self):
        return park()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        park()

    def __del__(self):
        park()


def in_constructor():
    Thing()


def in_attribute():
    thing = Thing.__new__(Thing)
    return thing.no_such


def in_property():
    thing = Thing.__new__(Thing)
    return (thing
            .value)


def in_with():
    with Thing.__new__(Thing) as thing:
        several(
            thing,
        )


def in_destructor():
    thing = Thing.__new__(Thing)
    del thing


def in_class_body():
    class Body(object):
        number = 1
        several(number)
        park()
        other = 2

    return Body


def closure():
    def inner():
        def innermost():
            park()
        innermost()
    inner()


def in_handler():
    try:
        several(
            1 // 0,
        )
    except ZeroDivisionError:
        try:
            several(1)
        finally:
            park()


def in_loop():
    while True:
        for number in range(10):
            if number < 9:
                continue
            park()


def decorated():
    @functools.wraps(park)
    def wrapper(*arguments):
        return park(*arguments)
    return wrapper(1, 2)


def in_json():
    return json.dumps(object(), indent=1, default=park)


def far_down():
    # Jumps of line numbers that do not fit a byte, forward and back.
    few = "\n" * 300
    text = "def far():\n" + "\n" * 70000 + "    several(\n" + few + "        park(),\n" + few + "    )\n\nfar()\n"
    exec(compile(text, "made up.py", "exec"), {"several": several, "park": park})


def in_expression_of_eval():
    return eval("several(1,\n park())", {"several": several, "park": park})


def long_function():
    # Thousands of instructions, with names that need wide arguments.
    lines = ["def long():"] + ["    v%d = %d" % (number, number) for number in range(3000)]
    lines += ["    park(v0,", "         v2999)", "long()"]
    exec(compile("\n".join(lines), "long.py", "exec"), {"park": park})


cases = [
    plain, multi_line_sum, multi_line_arguments, multi_line_call, in_generator, in_generator_expression, in_list,
    in_set_and_dictionary, recursion, in_lambda, called_back_by_c, in_partial, in_constructor, in_attribute,
    in_property, in_with, in_destructor, in_class_body, closure, in_handler, in_loop, decorated, in_json, far_down,
    in_expression_of_eval, long_function,
]
if sys.version_info >= (3, 6):
    import known_of_3
    cases += known_of_3.cases(park, several)


def frames_of(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append([getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return frames


def report(threads):
    main_frame = sys._getframe(1)
    current = sys._current_frames()
    native_ids[get_ident()] = native_id()
    described = [(threading.current_thread(), main_frame)] + [(thread, current[thread.ident]) for thread in threads]
    return [
        {"name": thread.name, "ident": thread.ident, "native_id": native_ids[thread.ident], "frames": frames_of(frame)}
        for thread, frame in described
    ]


def main():
    threads = []
    for number, case in enumerate(cases):
        thread = threading.Thread(target=case)
        if number % 3:
            thread.name = "before the start %d" % number
        thread.daemon = True
        thread.start()
        if number % 3 == 2:
            thread.name = "after the start %d" % number
        threads.append(thread)
    for _ in threads:
        parked.acquire()
    # Out of `release` again.
    while any(sys._current_frames()[thread.ident].f_code is not park.__code__ for thread in threads):
        time.sleep(0.001)
    threads[0].name = "a long name " * 20
    if sys.version_info >= (3,):
        threads[1].name = "wörk \U0001f40d 線"
    print("ready")
    print(json.dumps(report(threads))); sys.stdout.flush(); sys.stdin.readline()


main()
