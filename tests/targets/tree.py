"""Processes below processes: each computes for some seconds and prints its pid, how long it took and who its parent is.

    tree.py MODE DEPTH SECONDS

MODE is how the next process is made: fork, spawn, forkserver or subprocess (three of the standard library's ways),
prefork (a master that waits for DEPTH workers), exec (one process that becomes another program DEPTH times) or often
(DEPTH children, one after the other).
"""
import os
import subprocess
import sys
import time


def burn(seconds):
    begin = time.time()
    while time.time() - begin < seconds:
        sum(range(100))
    line = "burned %d %.6f %d\n" % (os.getpid(), time.time() - begin, os.getppid())
    os.write(1, line.encode())


def fork(depth, seconds):
    child = os.fork() if depth > 1 else None
    if child == 0:
        fork(depth - 1, seconds)
        os._exit(0)
    burn(seconds)
    if child:
        os.waitpid(child, 0)


def call(depth, seconds):
    child = None
    if depth > 1:
        child = subprocess.Popen([sys.executable, __file__, "subprocess", str(depth - 1), str(seconds)])
    burn(seconds)
    if child:
        child.wait()


def start(method, depth, seconds):
    import multiprocessing

    child = None
    if depth > 1:
        context = multiprocessing.get_context(method)
        child = context.Process(target=start, args=(method, depth - 1, seconds))
        child.start()
    burn(seconds)
    if child:
        child.join()


def prefork(workers, seconds):
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            burn(seconds)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def often(children, seconds):
    for _ in range(children):
        child = os.fork()
        if child == 0:
            burn(seconds)
            os._exit(0)
        os.waitpid(child, 0)


def execute(times, seconds):
    burn(seconds)
    if times > 1:
        os.execv(sys.executable, [sys.executable, __file__, "exec", str(times - 1), str(seconds)])


def main():
    mode, depth, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if mode in ("spawn", "forkserver"):
        start(mode, depth, seconds)
    else:
        ways = {"fork": fork, "subprocess": call, "prefork": prefork, "often": often, "exec": execute}
        ways[mode](depth, seconds)


if __name__ == "__main__":
    main()
