# -*- coding: utf-8 -*-
"""Small programs, each with something in it that programs have every day; the first argument says which.

variables: variables of many kinds in a function that waits; a line of JSON tells of them what Python says: the name,
           whether it is an argument, and the value.
unwaited:  a child has ended, and nobody has waited for it; the program computes.
family:    threads that sleep, and a child with as many.
named:     ten threads with names that sleep; so does the main thread.
"""
import json
import os
import subprocess
import sys
import threading
import time


def say_ready():
    print("ready")
    sys.stdout.flush()


def told_of(frame):
    code = frame.f_code
    variables = frame.f_locals
    names = [name for name in code.co_varnames if name in variables]
    return [[name, name in code.co_varnames[:code.co_argcount], repr(variables[name])] for name in names]


def wait(told):
    say_ready()
    print(json.dumps(told))
    sys.stdout.flush()
    sys.stdin.readline()


def keeps(label, nothing, is_on=True):
    below = [-4321, 8765]
    letters = ("x", "yz")
    single = (1,)
    large = 987654321987654321
    larger = -2 ** 200
    ratio = 0.125
    third = 1 / 3.0
    point = 1 - 2j
    table = {"on": False, "sizes": (1, 2, 3)}
    empty_table = {}
    distinct = {7}
    word = "it's"
    empty = ""
    dots = Ellipsis
    kind = int
    deep = [[[["bottom"]]]]
    wait(told_of(sys._getframe()))
    return below


def computes():
    say_ready()
    while True:
        sum(range(1000))


def unwaited():
    child = os.fork()
    if child == 0:
        os._exit(0)

    def state():
        with open("/proc/%d/stat" % child) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]

    while state() != "Z":
        time.sleep(0.001)
    computes()


def sleeps(begun):
    begun.release()
    while True:
        time.sleep(1000)


def start_sleepers(names):
    begun = threading.Semaphore(0)
    for name in names:
        thread = threading.Thread(target=sleeps, args=(begun,), name=name)
        thread.daemon = True
        thread.start()
    for _ in names:
        begun.acquire()


def sleep_in_main():
    say_ready()
    while True:
        time.sleep(1000)


def family():
    if len(sys.argv) == 2:
        again = [sys.executable, __file__, "family", "child"]
        child = subprocess.Popen(again, stdout=subprocess.PIPE)
        child.stdout.readline()
    start_sleepers(["sleeper-%d" % number for number in range(3)])
    sleep_in_main()


def named():
    start_sleepers(["custom name %d" % number for number in range(10)])
    sleep_in_main()


what = sys.argv[1]
if what == "variables":
    keeps("a label", None)
else:
    {"unwaited": unwaited, "family": family, "named": named}[what]()
