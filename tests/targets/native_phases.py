"""C code below Python and above it, in phases that are told apart by their stacks."""
import hashlib
import sys
import zlib

data = b"".join(str(number * 7919 % 10007).encode() for number in range(20000))
words = [str(number * 7919 % 10007) for number in range(20000)]


def compresses():
    zlib.compress(data, 6)


def digests():
    hashlib.sha256(data * 4).digest()


def key(word):
    return word[::-1]


def sorts():
    sorted(words, key=key)


def main():
    print("ready")
    sys.stdout.flush()
    while True:
        compresses()
        digests()
        sorts()


main()
