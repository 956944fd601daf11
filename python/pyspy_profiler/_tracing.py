"""The right of our child to read us, where the kernel wants to be asked for it (Yama, prctl(2) PR_SET_PTRACER)."""

from __future__ import annotations

import threading
from typing import List

__all__ = ["allow", "take_back"]

PR_SET_PTRACER = 0x59616D61
SCOPE = "/proc/sys/kernel/yama/ptrace_scope"
#: Only parents may read their children, and whom a process names.
RESTRICTED = "1"

_lock = threading.Lock()
#: Who may read us; the last is the one that the kernel knows of, as it remembers one only.
_allowed: List[int] = []


def is_needed() -> bool:
    """Whether a child may read us only if we say so."""
    try:
        with open(SCOPE) as scope:
            return scope.read().strip() == RESTRICTED
    except OSError:
        return False


def allow(child: int) -> None:
    """Lets the child read us, where that has to be said. While it may, one that was allowed before may not."""
    if not is_needed():
        return
    with _lock:
        _allowed.append(child)
        _tell(child)


def take_back(child: int) -> None:
    """The child may read us no longer; who was allowed before it may again."""
    with _lock:
        if child in _allowed:
            _allowed.remove(child)
            _tell(_allowed[-1] if _allowed else 0)


def _tell(pid: int) -> None:
    # Not imported where nobody asks: it takes longer than all the rest of this package.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    # What it answers is not looked at: where it fails the child is refused, and says so.
    libc.prctl(ctypes.c_int(PR_SET_PTRACER), ctypes.c_ulong(pid), zero, zero, zero)
