"""A thread waits for a lock that the main thread holds, which waits for its input; as the user that is named."""
import os
import sys
import threading

if len(sys.argv) > 1:
    user = int(sys.argv[1])
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

lock = threading.Lock()


def wait_for_it():
    with lock:
        pass


with lock:
    threading.Thread(target=wait_for_it, name="waiter", daemon=True).start()
    print("ready")
    sys.stdout.flush()
    sys.stdin.read()
