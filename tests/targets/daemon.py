"""Programs that leave processes behind; each of these prints a line `burned PID SECONDS PARENT` when it has computed.

    daemon.py MODE SECONDS [FOLDER]

double: a daemon, made by two forks with a session of its own. late: the same, after SECONDS of work in the program
itself. workers: a daemon that has two workers. chain: each of three processes computes twice as long as the one that
has made it, and so outlives it. many: twenty orphans one after the other, while the program goes on until there is a
file `end` in FOLDER. The program's exit status is 3.
"""
import os
import sys
import time


def burn(seconds):
    begin = time.time()
    while time.time() - begin < seconds:
        sum(range(100))
    line = "burned %d %.6f %d\n" % (os.getpid(), time.time() - begin, os.getppid())
    os.write(1, line.encode())


def leave(function, *arguments):
    """Runs a function in a process of another session whose parent has ended; returns when that has."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(1, ("left %d\n" % os.getpid()).encode())
            os.write(tell, b"!")
            function(*arguments)
        os._exit(0)
    os.waitpid(child, 0)
    os.read(told, 1)
    os.close(told)
    os.close(tell)


def workers(seconds):
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            burn(seconds)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def chain(generations, seconds):
    if generations > 1 and os.fork() == 0:
        chain(generations - 1, 2 * seconds)
    burn(seconds)
    os._exit(0 if generations < 3 else 3)


def main():
    mode, seconds = sys.argv[1], float(sys.argv[2])
    if mode == "double":
        leave(burn, seconds)
    elif mode == "late":
        burn(seconds)
        leave(burn, 600)
    elif mode == "workers":
        leave(workers, seconds)
    elif mode == "chain":
        chain(3, seconds)
    elif mode == "many":
        for _ in range(20):
            leave(burn, seconds)
        os.write(1, b"all\n")
        while not os.path.exists(os.path.join(sys.argv[3], "end")):
            time.sleep(0.01)
    sys.exit(3)


main()
