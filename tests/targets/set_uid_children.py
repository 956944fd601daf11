"""Starts children one after the other that run Python for up to 30 ms and then execute a program:
`set_uid_children.py PROGRAM COUNT`. Prints what the program prints, given `-u`.
"""
import os
import sys
import time

program, count = sys.argv[1], int(sys.argv[2])


def work(number):
    return number if number < 2 else work(number - 1) + work(number - 2)


print("ready")
sys.stdout.flush()
sys.stdin.readline()
for number in range(count):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 1)
        end = time.time() + 0.03 * number / count
        while time.time() < end:
            work(8)
        os.execv(program, [program, "-u"])
    os.close(write)
    print(os.read(read, 100).decode().strip())
    sys.stdout.flush()
    os.close(read)
    os.waitpid(child, 0)
print("end")
sys.stdout.flush()
sys.stdin.readline()
