"""Native code with names of all kinds, asleep. Arguments: what, then a library or a folder.

`call LIBRARY FUNCTION`: a function of a library that does not return.
`threads LIBRARY attached|alone`: threads that run no Python.
`trampolines perf|perf_jit`: Python code below C code below Python code, called through CPython's trampolines.
`generated map|dump FOLDER`: code that is made here, of which a perf map or a jitdump tells the name.
"""
import ctypes
import mmap
import os
import struct
import sys
import time


def ready():
    print("ready")
    sys.stdout.flush()


def call(library, name):
    function = getattr(ctypes.CDLL(library), name)
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    ready()
    function(1.0)


def threads(library, kind):
    ctypes.CDLL(library).threads_start(kind == "attached")
    ready()
    time.sleep(1000)


def leaf(_):
    ready()
    time.sleep(1000)


def middle(_):
    sorted([1], key=leaf)


def trampolines(backend):
    if backend != "none":
        sys.activate_stack_trampoline(backend)
    list(map(middle, [1]))


def generated(kind, folder):
    # push rbp; mov rbp, rsp; call rdi; pop rbp; ret
    code = b"\x55\x48\x89\xe5\xff\xd7\x5d\xc3"
    # A compiler may have its code in memory that is shared, which has a file of its own.
    flags = mmap.MAP_ANONYMOUS | (mmap.MAP_SHARED if kind == "map" else mmap.MAP_PRIVATE)
    memory = mmap.mmap(-1, 4096, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if kind == "map":
        with open("/tmp/perf-%d.map" % os.getpid(), "w") as file:
            file.write("%x %x made_by_compiler\n" % (address, len(code)))
    else:
        path = "%s/jit-%d.dump" % (folder, os.getpid())
        name = b"made_by_compiler\0"
        header = struct.pack("=IIIIIIQQ", 0x4A695444, 1, 40, 62, 0, os.getpid(), 0, 0)
        body = struct.pack("=IIQQQQ", os.getpid(), os.getpid(), address, address, len(code), 1) + name + code
        record = struct.pack("=IIQ", 0, 16 + len(body), 0) + body
        with open(path, "wb+") as file:
            file.write(header + record)
            file.flush()
            generated.mark = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ |
            mmap.PROT_EXEC)
    callback = ctypes.CFUNCTYPE(None)(lambda: leaf(0))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.cast(callback, ctypes.c_void_p))


globals()[sys.argv[1]](*sys.argv[2:])
