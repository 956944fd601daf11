"""A program with something to see: about five seconds of three kinds of work, in two threads."""

import json
import threading
import time


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def primes(limit):
    found = []
    for candidate in range(2, limit):
        if all(candidate % prime for prime in found if prime * prime <= candidate):
            found.append(candidate)
    return found


def encode(rounds):
    document = {"numbers": list(range(200)), "nested": [{"key": str(i)} for i in range(50)]}
    for _ in range(rounds):
        json.loads(json.dumps(document))


def work(until):
    while time.time() < until:
        fibonacci(16)
        primes(600)
        encode(5)


def main():
    until = time.time() + 5
    helper = threading.Thread(target=encode_until, args=(until,), name="encoder")
    helper.start()
    work(until)
    helper.join()


def encode_until(until):
    while time.time() < until:
        encode(5)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
