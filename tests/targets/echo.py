"""Repeats what it reads, with its first argument before it."""
import sys


def main():
    print("ready")
    sys.stdout.flush()
    while True:
        line = sys.stdin.readline()
        if not line:
            return
        sys.stdout.write(sys.argv[1] + " " + line)
        sys.stdout.flush()


main()
