"""A recursive Fibonacci without end: the stack is never still."""
import sys


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def main():
    print("ready")
    sys.stdout.flush()
    while True:
        fib(20)


main()
