"""Starts threads that compute for some milliseconds each, without end, a few at a time; the main thread only waits."""
import sys
import threading
import time


def compute():
    end = time.time() + 0.01
    while time.time() < end:
        sum(range(100))


def main():
    print("ready")
    sys.stdout.flush()
    while True:
        threads = [threading.Thread(target=compute) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


main()
