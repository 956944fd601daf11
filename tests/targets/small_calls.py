"""Calls small functions in a tight loop, without end: its newest frame is another one every few ten nanoseconds."""
import sys


def inner(number):
    result = number + 1
    return result * 2


def outer(number):
    return inner(number) + 1


def main():
    number = 0
    print("ready")
    sys.stdout.flush()
    while True:
        number = outer(number) % 1000
        number = inner(number) % 500


main()
