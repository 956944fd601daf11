"""pyspy from Python: a profile of a block, a function, a notebook's cell or slow tests of this very process.

    import pyspy_profiler

    with pyspy_profiler.record("out.svg"):
        work()

    @pyspy_profiler.record("out.html", rate=1000)
    def work(): ...

    print(pyspy_profiler.dump())

In a notebook ``%load_ext pyspy_profiler`` and ``%%pyspy``; with pytest ``--pyspy-slow SECONDS``. The program ``pyspy``
does all of it, as a child of this process that reads it from outside; nothing runs in this process meanwhile.
"""

from __future__ import annotations

from typing import Any

from ._binary import find_binary
from ._errors import NotPermittedError, PyspyError
from ._recording import Recording, dump, record

__all__ = ["NotPermittedError", "PyspyError", "Recording", "dump", "find_binary", "load_ipython_extension", "record"]


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext pyspy_profiler``: makes the cell magic ``%%pyspy`` known."""
    from ._magic import register

    register(shell)
