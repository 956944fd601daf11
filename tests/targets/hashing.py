"""Threads that compute in C code without the GIL, four times as many as there are CPUs or as many as are asked for.

    hashing.py [THREADS]
"""
import hashlib
import os
import sys
import threading


def digest():
    block = b"x" * (1 << 20)
    while True:
        hashlib.sha256(block).digest()


for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 4 * (os.cpu_count() or 1)):
    thread = threading.Thread(target=digest)
    thread.daemon = True
    thread.start()
print("ready")
sys.stdout.flush()
threading.Event().wait()
