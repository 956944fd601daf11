"""A thread writes small files into the directory that is given, again and again; prints `ready` after the first."""
import os
import sys
import threading
import time

folder = sys.argv[1]
begun = threading.Event()


def save_order(number):
    with open(os.path.join(folder, "order-%d" % number), "w") as file:
        file.write("paid")


def work():
    number = 0
    while True:
        number = (number + 1) % 7
        save_order(number)
        begun.set()
        time.sleep(0.02)


thread = threading.Thread(target=work)
thread.daemon = True
thread.start()
begun.wait()
print("ready")
sys.stdout.flush()
threading.Event().wait()
