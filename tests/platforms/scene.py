"""A program that stands still in known places: what every platform must show of it alike.

It says `ready` and the number of its process once all of its threads are where they stay, and ends when standard
input does. Nothing here depends on the system: no paths, no signals, no numbers that differ.
"""
import os
import sys
import threading
import time

gate = threading.Lock()
gate.acquire()
arrived = threading.Semaphore(0)


class Order(object):
    def __init__(self, number, article):
        self.number = number
        self.article = article

    def wait(self, patience):
        arrived.release(); gate.acquire()
        return patience


def handle(order, prices):
    total = sum(prices.values())
    text = "Grüße, %s" % order.article
    return order.wait(total) or text


def worker():
    handle(Order(7, "schöne Äpfel"), {"apples": 3, "pears": 4})


def sleeper(seconds):
    names = ["one", "two", "three"]
    arrived.release(); time.sleep(seconds)
    return names


def read_to_the_end():
    flags = (True, None, 2.5, b"bytes")
    for _ in range(2):
        arrived.acquire()
    # Says for the threads only that they are about to stand still; whoever reads them waits until they do.
    print("ready %d" % os.getpid())
    sys.stdout.flush()
    sys.stdin.read()
    return flags


def main():
    for name, function, arguments in [("worker", worker, ()), ("sleeper", sleeper, (100000,))]:
        thread = threading.Thread(target=function, args=arguments, name=name)
        thread.daemon = True
        thread.start()
    read_to_the_end()
    # Threads are in calls that nothing ends.
    os._exit(0)


main()
