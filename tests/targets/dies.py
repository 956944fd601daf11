"""Threads that wait in different places, until a line is read; then it aborts, and the core goes to its argument."""
import os
import resource
import sys
import threading

os.chdir(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

started = []


def deeper(depth, event):
    if depth:
        return deeper(depth - 1, event)
    started.append(depth)
    event.wait()


class Server(object):
    def serve(self, event):
        deeper(40, event)


def main():
    event = threading.Event()
    targets = [lambda: deeper(0, event), lambda: Server().serve(event)]
    for number, target in enumerate(targets):
        thread = threading.Thread(target=target, name="worker %d" % number)
        thread.daemon = True
        thread.start()
    while len(started) < len(targets):
        pass
    print("ready")
    sys.stdout.flush()
    sys.stdin.readline() and os.abort()


main()
