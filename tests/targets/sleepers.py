"""Threads that sleep here and there by turns, three times as long there as here."""
import sys
import threading
import time


def here():
    time.sleep(0.005)


def there():
    time.sleep(0.015)


def work():
    while True:
        here()
        there()


for _ in range(12):
    thread = threading.Thread(target=work)
    thread.daemon = True
    thread.start()
print("ready")
sys.stdout.flush()
threading.Event().wait()
