"""``%%pyspy``: records a cell and shows the picture below it."""

from __future__ import annotations

import html
import os
import shlex
import tempfile
from typing import Any, Optional

from ._errors import PyspyError
from ._recording import Recording

__all__ = ["register"]

#: How high the picture is shown, in pixels, before one scrolls in it.
HEIGHT = 600


def register(shell: Any) -> None:
    """Makes the magic known to the shell."""
    shell.register_magic_function(lambda line, cell: profile_cell(shell, line, cell), "cell", "pyspy")


def profile_cell(shell: Any, line: str, cell: str) -> None:
    """Runs the cell; what stands behind ``%%pyspy`` are options of ``pyspy record``, such as ``--rate 1000``."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "cell.svg")
        recording = Recording(path, ["--format", "flamegraph"] + shlex.split(line))
        try:
            with recording:
                # An exception of the cell is shown by the shell, and not raised here.
                shell.run_cell(cell)
        except PyspyError as error:
            print("pyspy: %s" % error)
            return
        with open(path, encoding="utf-8") as file:
            show(file.read(), recording.summary, recording.samples)


def show(picture: str, summary: str, samples: Optional[int]) -> None:
    """Shows the picture with its script in a frame of its own, and as an image to those that show no frames."""
    from IPython.display import display

    count = "%s samples" % samples if samples is not None else summary
    frame = '<iframe srcdoc="%s" style="width: 100%%; height: %dpx; border: 0" title="flame graph"></iframe>'
    bundle = {
        "text/html": frame % (html.escape(picture, quote=True), HEIGHT),
        "image/svg+xml": picture,
        "text/plain": "<flame graph of %s>" % count,
    }
    display(bundle, raw=True)
