"""What goes wrong, in exceptions."""

from __future__ import annotations

from typing import Optional

__all__ = ["NotPermittedError", "PyspyError"]

#: pyspy's exit status where the process may not be read.
NOT_PERMITTED = 4


class PyspyError(RuntimeError):
    """pyspy could not do what it was asked; the text is its own message.

    ``status`` is pyspy's exit status as its documentation lists them, or None where it did not get as far as to exit.
    """

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status


class NotPermittedError(PyspyError):
    """This process may not be read, not even by its own child: a container without that right, a sandbox."""


def failure(message: str, status: Optional[int]) -> PyspyError:
    """The exception for a message of pyspy's and its exit status."""
    text = message.strip() or "pyspy ended with status %s and said nothing" % status
    kind = NotPermittedError if status == NOT_PERMITTED else PyspyError
    return kind(text, status)
