"""Two processes that compute until they are killed; the child lets nobody read it but root (PR_SET_DUMPABLE). Prints
its pid."""
import ctypes
import os


def work():
    while True:
        sum(range(300))


child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    os.write(1, ("child %d\n" % os.getpid()).encode())
    work()
work()
