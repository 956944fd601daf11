"""One thread computes, one sleeps, one waits in select."""
import select
import socket
import sys
import threading
import time

pair = socket.socketpair()
begun = [threading.Event() for _ in range(3)]


def sleeps():
    begun[0].set()
    while True:
        time.sleep(6000)


def selects():
    begun[1].set()
    while True:
        select.select([pair[0]], [], [], 6000)


def computes():
    begun[2].set()
    while True:
        sum(range(1000))


for function in (sleeps, selects, computes):
    thread = threading.Thread(target=function, name=function.__name__)
    thread.daemon = True
    thread.start()
for event in begun:
    event.wait()
print("ready")
sys.stdout.flush()
while True:
    time.sleep(6000)
