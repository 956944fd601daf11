"""A process that has renamed itself to its second argument, padded as the first one says: with `nul` or with `space`.

It writes over its arguments, which is how setproctitle and PostgreSQL do it; needs /proc. It computes without end.
"""
import ctypes
import sys

title = sys.argv[2].encode()
padding = {"nul": b"\0", "space": b" "}[sys.argv[1]]
fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
start, end = int(fields[45]), int(fields[46])
# The last byte stays 0: otherwise the system takes what follows, the environment, for a part of it.
room = end - start - 1
ctypes.memmove(start, title[:room] + padding * (room - len(title)), room)
print("ready")
sys.stdout.flush()
while True:
    sum(range(100000))
