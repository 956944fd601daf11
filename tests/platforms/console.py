"""Runs a command in this process's console on Windows, and does something to the console once a line comes in.

usage: python console.py c|break|close COMMAND...        (started with CREATE_NO_WINDOW, it has a console of its own)

Exits with the command's status. A key reaches every program of the console, so this one ignores it. Wine 8 tells
programs of Ctrl-C only, and no system lets a program say that the console closes: those are told to the command alone,
by the way in which the system does it, a thread in the program that begins at kernelbase's CtrlRoutine.
"""
import ctypes
import os
import signal
import subprocess
import sys
from ctypes import wintypes

EVENTS = {"c": signal.CTRL_C_EVENT, "break": signal.CTRL_BREAK_EVENT, "close": 2}
IS_WINE = hasattr(ctypes.windll.ntdll, "wine_get_version")


def tell(process, event):
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.GetModuleHandleW.restype = kernel32.CreateRemoteThread.restype = wintypes.HANDLE
    kernel32.GetProcAddress.argtypes = [wintypes.HANDLE, wintypes.LPCSTR]
    kernel32.GetProcAddress.restype = ctypes.c_void_p
    kernel32.CreateRemoteThread.argtypes = [wintypes.HANDLE, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                            ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p]
    # It is at the same address in every program.
    routine = kernel32.GetProcAddress(kernel32.GetModuleHandleW("kernelbase.dll"), b"CtrlRoutine")
    if not routine or not kernel32.CreateRemoteThread(int(process._handle), None, 0, routine, event, 0, None):
        raise ctypes.WinError(ctypes.get_last_error())


command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGBREAK, signal.SIG_IGN)
sys.stdin.readline()
if sys.argv[1] == "c" or (sys.argv[1] == "break" and not IS_WINE):
    # The group 0 is all of the console.
    os.kill(0, EVENTS[sys.argv[1]])
else:
    tell(command, int(EVENTS[sys.argv[1]]))
sys.exit(command.wait())
