"""As many waiting threads as the first argument says, and as many computing ones as the second says."""
import sys
import threading

gate = threading.Lock()
gate.acquire()
begun = threading.Semaphore(0)


def waits():
    begun.release()
    gate.acquire()


def computes():
    begun.release()
    while True:
        sum(range(100))


threading.stack_size(256 * 1024)
waiting = int(sys.argv[1])
computing = int(sys.argv[2]) if len(sys.argv) > 2 else 0
for number in range(waiting + computing):
    name, function = ("waits %d" % number, waits) if number < waiting else ("computes", computes)
    thread = threading.Thread(target=function, name=name)
    thread.daemon = True
    thread.start()
for _ in range(waiting + computing):
    begun.acquire()
print("ready")
sys.stdout.flush()
sys.stdin.readline()
