# -*- coding: utf-8 -*-
"""Waits at the bottom of a recursion, with wide characters in its source; with arguments it starts children first."""
import subprocess
import sys


def fall(depth):
    if depth:
        return fall(depth - 1)
    return "深い" and (wait("底") or None)


def wait(label):
    hostile = label + "\x1b[31m\n\u202e"
    number = 3.0
    print("ready")
    sys.stdout.flush()
    sys.stdin.readline()
    return hostile, number


def main():
    children = []
    if len(sys.argv) > 1:
        again = [sys.executable, __file__]
        children.append(subprocess.Popen(again, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        children[0].stdout.readline()
        shell = ["sh", "-c", "echo ready; sleep 1000; true"]
        children.append(subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        children[1].stdout.readline()
    fall(60)


main()
