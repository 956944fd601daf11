"""Runs a command in this process's console on Windows, and presses a key there once a line comes in.

usage: python console.py c|break COMMAND...        (started with CREATE_NO_WINDOW, it has a console of its own)

Exits with the command's status. A key reaches every program of the console, so this one ignores it.
"""
import os
import signal
import subprocess
import sys

KEYS = {"c": signal.CTRL_C_EVENT, "break": signal.CTRL_BREAK_EVENT}

command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGBREAK, signal.SIG_IGN)
sys.stdin.readline()
# The group 0 is all of the console.
os.kill(0, KEYS[sys.argv[1]])
sys.exit(command.wait())
