"""Greenlets that sleep, wait for sockets, processes, threads and each other, and in what the standard library has when
it is patched.

usage: greenlet_waits.py gevent|eventlet

Prints `ready` when all wait, then a line of JSON: of each function what must be told of its wait (see task_waits.py).
Of a sleep `due` has the monotonic times between which it ends.
"""
import json
import subprocess
import sys
import time as plain_time

plain_sleep, gevent = plain_time.sleep, sys.argv[1] == "gevent"
if gevent:
    from gevent import monkey
    monkey.patch_all()
    from gevent import sleep, spawn
    from gevent import joinall, queue as green_queue
else:
    import eventlet
    eventlet.monkey_patch()
    from eventlet import sleep, spawn

import queue
import socket
import threading
import time

told, kept = {}, []
socket_class = "socket" if gevent else "GreenSocket"


def connected():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    near = socket.create_connection(listener.getsockname())
    far, _ = listener.accept()
    kept.extend((listener, near, far))
    return listener, near, far


def note_sleep(name, seconds):
    # It begins after this, and before all wait.
    told[name] = {"kind": "sleep", "text": "sleeps, wakes in ", "due": plain_time.monotonic() + seconds, "for": seconds}


def sleeps():
    note_sleep("sleeps", 3600)
    sleep(3600)


def sleeps_longer():
    note_sleep("sleeps_longer", 72000.25)
    sleep(72000.25)


def sleeps_when_patched():
    note_sleep("sleeps_when_patched", 5000)
    time.sleep(5000)


def selects():
    import select
    pairs = [spare.pop() for _ in range(2)]
    near = sorted(socket.fileno() for socket in pairs)
    told["selects"] = {"kind": "socket", "text": "waits in select, ", "fd": near[0], "also": [near[1]]}
    select.select(pairs, [], pairs[:1])


def polls():
    import select
    pairs = [spare.pop() for _ in range(6)]
    near = sorted(socket.fileno() for socket in pairs)
    poll = select.poll()
    for socket in pairs:
        poll.register(socket, select.POLLIN)
    told["polls"] = {"kind": "socket", "text": "waits in poll.poll, ", "fd": near[0], "also": near[1:4], "count": 6}
    poll.poll()


def selects_by_selector():
    import selectors
    near = spare.pop()
    selector = selectors.DefaultSelector()
    selector.register(near, selectors.EVENT_READ)
    told["selects_by_selector"] = {"kind": "socket", "text": "waits in ", "fd": near.fileno()}
    selector.select()


def receives():
    _, near, _ = connected()
    told["receives"] = {"kind": "socket", "text": "waits in %s.recv" % socket_class, "fd": near.fileno()}
    near.recv(1)


def sends():
    _, near, far = connected()
    told["sends"] = {"kind": "socket", "text": "waits in %s.sendall" % socket_class, "fd": near.fileno()}
    near.sendall(b"x" * 50000000)


def accepts():
    listener, _, _ = connected()
    told["accepts"] = {"kind": "socket", "text": "waits in %s.accept" % socket_class, "fd": listener.fileno()}
    listener.accept()


def reads_a_file():
    _, near, _ = connected()
    text = "waits in %s.recv_into" % socket_class
    told["reads_a_file"] = {"kind": "socket", "text": text, "fd": near.fileno()}
    near.makefile("rb").readline()


def waits_for_condition():
    condition = threading.Condition()
    told["waits_for_condition"] = {"kind": "condition", "text": "waits in Condition.wait (", "object": id(condition)}
    with condition:
        condition.wait()


def gets():
    items = queue.Queue()
    kept.append(items)
    told["gets"] = {"kind": "queue", "text": "waits in Queue.get (", "object": id(items)}
    items.get()


def acquires():
    lock = threading.Lock()
    lock.acquire()
    kept.append(lock)
    told["acquires"] = {"kind": "lock", "text": "waits in Lock.acquire (", "object": id(lock)}
    lock.acquire()


def waits_for_process():
    # It ends when we do.
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    kept.append(process)
    told["waits_for_process"] = {"kind": "process", "text": "waits in Popen.wait", "pid": process.pid}
    process.wait()


def joins_queue():
    items = green_queue.JoinableQueue()
    items.put(1)
    kept.append(items)
    text = "waits in %s.join (" % type(items).__name__
    told["joins_queue"] = {"kind": "queue", "text": text, "object": id(items)}
    items.join()


def joins_several():
    several = [spawn(sleep, 3600) for _ in range(3)]
    kept.append(several)
    told["joins_several"] = {"kind": "wait", "text": "waits in joinall or wait"}
    joinall(several)


def runs_in_thread():
    import gevent.hub
    told["runs_in_thread"] = {"kind": "executor", "text": "waits in ThreadPool.apply"}
    gevent.hub.get_hub().threadpool.apply(monkey.get_original("time", "sleep"), (3600,))


def looks_up():
    import _socket
    import gevent.resolver.thread
    # The real one would ask somebody.
    found = monkey.get_original("time", "sleep")
    gevent.resolver.thread._socket = type("Sleeps", (), {"getaddrinfo": staticmethod(lambda *_: found(3600))})
    told["looks_up"] = {"kind": "executor", "text": "waits in getaddrinfo"}
    try:
        socket.create_connection(("nowhere.invalid", 80))
    finally:
        gevent.resolver.thread._socket = _socket


functions = [sleeps, sleeps_longer, sleeps_when_patched, selects, selects_by_selector, receives, sends, accepts]
functions += [reads_a_file, waits_for_condition, gets, acquires]
if gevent:
    functions += [polls, waits_for_process, joins_queue, joins_several, runs_in_thread, looks_up]
# To connect takes more than one turn of the loop.
spare = [connected()[1] for _ in range(9)]
greenlets = [spawn(function) for function in functions]
while len(told) < len(functions):
    sleep(0.01)
# Each has told what it does right before it does it.
sleep(0.2)
for facts in told.values():
    if "for" in facts:
        facts["due"] = [facts["due"], plain_time.monotonic() + facts.pop("for")]
print("ready")
print(json.dumps(told))
sys.stdout.flush()
if gevent:
    joinall(greenlets)
for greenlet in greenlets:
    greenlet.wait()
