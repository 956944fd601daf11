"""Two threads take turns of 0.3 seconds in computing, and both wait for as long after each pair of turns."""
import sys
import threading
import time

TURN = 0.3
turn = [threading.Event(), threading.Event(), threading.Event()]


def burn():
    begin = time.time()
    while time.time() - begin < TURN:
        sum(range(50))


def first():
    while True:
        turn[0].wait()
        turn[0].clear()
        burn()
        turn[1].set()


def second():
    while True:
        turn[1].wait()
        turn[1].clear()
        burn()
        turn[2].set()


for function in (first, second):
    thread = threading.Thread(target=function, name=function.__name__)
    thread.daemon = True
    thread.start()
print("ready")
sys.stdout.flush()
while True:
    turn[0].set()
    turn[2].wait()
    turn[2].clear()
    time.sleep(TURN)
