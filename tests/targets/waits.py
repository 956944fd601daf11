"""Threads that wait in all ways that there are; its first argument chooses more of them."""
import os
import select
import socket
import subprocess
import sys
import threading
import time

try:
    import queue
except ImportError:
    import Queue as queue

entered = []
for_ever = threading.Event()


def start(name, target, *args):
    def run():
        entered.append(name)
        target(*args)
    thread = threading.Thread(target=run, name=name)
    thread.daemon = True
    thread.start()
    return thread


def both(first, second, barrier):
    with first:
        barrier.append(1)
        while len(barrier) < 2:
            time.sleep(0.001)
        with second:
            raise AssertionError("no deadlock")


def hold(lock):
    with lock:
        for_ever.wait()


def take(lock):
    with lock:
        pass


def handle():
    try:
        raise KeyError("the\nmessage")
    except KeyError:
        for_ever.wait()


def again(call):
    """Python 2.7 does not repeat a call that a debugger's stop has interrupted."""
    while True:
        try:
            return call()
        except (IOError, OSError, select.error):
            pass


def epoll(descriptor):
    poller = select.epoll()
    poller.register(descriptor, select.EPOLLIN)
    again(poller.poll)


def poll(descriptor):
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    again(poller.poll)


a, b, plain = threading.RLock(), threading.RLock(), threading.Lock()
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1)
client = socket.socket()
client.connect(listener.getsockname())
server = listener.accept()[0]
reader, writer = os.pipe()
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)

barrier = []
start("ring 1", both, a, b, barrier)
start("ring 2", both, b, a, barrier)
start("holder", hold, plain)
while "holder" not in entered or not plain.locked():
    time.sleep(0.001)
start("taker", take, plain)
start("queue", queue.Queue().get)
start("event", for_ever.wait)
start("semaphore", threading.Semaphore(0).acquire)
joined = start("joined", time.sleep, 10000)
start("joiner", joined.join)
start("recv", server.recv, 10)
start("accept", listener.accept)
start("read", os.read, reader, 1)
start("poll", poll, server)
start("epoll", epoll, server)
start("select", again, lambda: select.select([server], [], []))
start("child", child.wait)
start("handler", handle)
while len(entered) < 17:
    time.sleep(0.001)
print("ready")
print("%s:%d" % server.getpeername())
print(child.pid)
print(server.fileno())
print(reader)
sys.stdout.flush()
sys.stdin.readline()
