"""A program that overwrites its own interpreter at random, as another user: `scribble_target.py LIBRARY UID`."""

import asyncio
import ctypes
import os
import random
import sys
import threading


class Range(ctypes.Structure):
    _fields_ = [("start", ctypes.c_uint64), ("words", ctypes.c_uint64)]


def own_thread():
    """Where the C library and the kernel keep what they need of this thread: in its stack, but for the first one."""
    own = ctypes.CDLL(None).pthread_self
    own.restype = ctypes.c_uint64
    return own()


def writable(threads):
    """Where Python keeps its data: what is its program's, the heap, and memory without a file. Not what threads and the
    other libraries need to go on."""
    last_file, last_end = "", 0
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            addresses, rights, _, _, inode, *name = line.split(maxsplit=5)
            start, end = (int(address, 16) for address in addresses.split("-"))
            name = name[0].strip() if name else ""
            if inode != "0":
                last_file = name
            is_of_file = inode != "0" or start == last_end and not name
            last_end = end
            if not rights.startswith("rw") or name.startswith("[") and name != "[heap]":
                continue
            if any(start <= thread < end for thread in threads):
                continue
            if is_of_file and "python" not in os.path.basename(last_file):
                continue
            yield start, end - start


def scribble(path, threads):
    library = ctypes.PyDLL(path)
    get = {}
    for name in ("PyThreadState_Get", "PyInterpreterState_Get"):
        get[name] = getattr(ctypes.pythonapi, name)
        get[name].restype = ctypes.c_uint64
    frame = sys._getframe()
    hot = [(get["PyThreadState_Get"](), 1024), (get["PyInterpreterState_Get"](), 8192),
           (ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime")), 65536)]
    while frame:
        code = frame.f_code
        hot += [(id(frame), 512), (id(code), 512)]
        hot += [(id(value), 64) for value in (code.co_name, code.co_filename, code.co_code)]
        hot += [(id(value), 64) for value in frame.f_locals.values()]
        frame = frame.f_back
    hot += [(id(task), 256) for task in asyncio.all_tasks()]
    cold = list(writable(threads))
    # Chunks of the stack of frames are that small.
    hot += [(start, length) for start, length in cold if length <= 65536]

    def within(start, length):
        for first, whole in cold:
            if first <= start < first + whole:
                return start & ~7, min(length, first + whole - start) // 8
        return None

    ranges = [(start, length // 8) for start, length in cold]
    hot = [found for found in (within(*one) for one in hot) if found and found[1]][-900:]
    ranges = ranges[-100:] + hot
    array = (Range * len(ranges))(*(Range(*one) for one in ranges))
    call = library.scribble
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_uint64]
    seed = random.getrandbits(63)
    print("ready", flush=True)
    call(ctypes.addressof(array), len(ranges), len(hot), seed)


async def sleeps(seconds):
    await asyncio.sleep(seconds)


async def run(library, threads):
    tasks = [asyncio.create_task(sleeps(3600)) for _ in range(20)]
    # A thread that still waits for the GIL would look at it every 5 ms.
    await asyncio.sleep(0.5)
    kept = {"tasks": tasks, "text": "x" * 1000, "numbers": list(range(100)), 1: (2, [3], {4})}
    scribble(library, threads)
    return kept


if __name__ == "__main__":
    if len(sys.argv) > 2:
        os.setgroups([])
        os.setresgid(*[int(sys.argv[2])] * 3)
        os.setresuid(*[int(sys.argv[2])] * 3)
    found = [own_thread()]

    def rest():
        found.append(own_thread())
        threading.Event().wait()

    for _ in range(3):
        threading.Thread(target=rest, daemon=True).start()
    asyncio.run(run(sys.argv[1], found))
