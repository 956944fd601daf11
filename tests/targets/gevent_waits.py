"""Greenlets that wait in the compiled objects of gevent.

Prints `ready`, then a line of JSON: for each function the address of the object that its greenlets wait for, or of the
one within.
"""
import json
import sys

import gevent
import gevent.event
import gevent.lock
import gevent.queue

semaphore, bounded = gevent.lock.Semaphore(0), gevent.lock.BoundedSemaphore(1)
event, result = gevent.event.Event(), gevent.event.AsyncResult()
empty, full = gevent.queue.Queue(), gevent.queue.Queue(1)
full.put(1)
bounded.acquire()
# What takes it ends without giving it back.
lock = gevent.lock.RLock()
gevent.spawn(lock.acquire).join()
sleeper = gevent.spawn(gevent.sleep, 3600)


def acquires():
    semaphore.acquire()


def enters():
    with bounded:
        pass


def waits():
    event.wait()


def gets_result():
    result.get()


def gets():
    empty.get()


def puts():
    full.put(2)


def locks():
    with lock:
        pass


def joins():
    sleeper.join()


objects = {acquires: semaphore, enters: bounded, waits: event, gets_result: result, gets: empty, puts: full,
           locks: lock._block, joins: sleeper}
greenlets = [gevent.spawn(function) for function in objects for _ in range(3)]
gevent.sleep(0.05)
print("ready")
within = {locks: [id(lock)]}
print(json.dumps({function.__name__: [id(thing)] + within.get(function, []) for function, thing in objects.items()}))
sys.stdout.flush()
gevent.joinall(greenlets)
