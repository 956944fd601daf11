"""What a program writes to have a part of itself recorded."""

from __future__ import annotations

import functools
import inspect
import os
import re
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, List, Optional, Sequence, Type, TypeVar, Union, cast

from ._child import Recorder, run_once
from ._errors import PyspyError

__all__ = ["Recording", "dump", "record"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Path = Union[str, "os.PathLike[str]"]
#: Options that say who takes the samples, or that only the kernel follows.
_ABOUT_THE_SAMPLER = ("--sampler", "--mode", "--kernel-frames", "--nonblocking")


class Recording:
    """A recording of this process: a context manager, and a decorator of functions and coroutine functions."""

    def __init__(self, output: _Path, options: Sequence[str]) -> None:
        #: Where the profile is written.
        self.output = Path(output)
        #: What pyspy says of the recording, when it is over.
        self.summary = ""
        self._options = list(options)
        # Before the kernel takes samples its program is loaded: for that, of 50 ms, the block would have to wait.
        if not any(option.startswith(_ABOUT_THE_SAMPLER) for option in self._options):
            self._options.append("--sampler=reader")
        self._recorder: Optional[Recorder] = None

    def __enter__(self) -> "Recording":
        if self._recorder is not None:
            raise PyspyError("this recording is running already; another needs a record() of its own")
        self._recorder = Recorder(["--output", str(self.output)] + self._options)
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        try:
            self.summary = recorder.stop().strip()
        except PyspyError as trouble:
            # What the block has raised says more.
            if kind is None:
                raise
            warnings.warn("no profile of the block that raised: %s" % trouble, RuntimeWarning, stacklevel=2)

    @property
    def samples(self) -> Optional[int]:
        """How many samples the profile has, as far as the recording is over."""
        found = re.search(r"(\d+) samples", self.summary)
        return int(found.group(1)) if found else None

    def __call__(self, function: _Function) -> _Function:
        """Records each call of the function; one that comes while another runs is part of that one's recording."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def recorded_coroutine(*arguments: Any, **named: Any) -> Any:
                if self._is_running():
                    return await function(*arguments, **named)
                with self:
                    return await function(*arguments, **named)

            return cast(_Function, recorded_coroutine)

        @functools.wraps(function)
        def recorded(*arguments: Any, **named: Any) -> Any:
            if self._is_running():
                return function(*arguments, **named)
            with self:
                return function(*arguments, **named)

        return cast(_Function, recorded)

    def _is_running(self) -> bool:
        return self._recorder is not None and self._recorder.owner == os.getpid()


def record(
    output: _Path,
    *,
    rate: int = 100,
    format: Optional[str] = None,
    idle: bool = False,
    gil: bool = False,
    threads: bool = False,
    native: bool = False,
    subprocesses: bool = False,
    options: Sequence[str] = (),
) -> Recording:
    """Records this process while a block or a function runs, and writes a profile when it ends, however it ends.

    The end of ``output``'s name says the format (``.svg``, ``.html``, ``.json``, ``.pyspy`` …), or ``format`` does.
    All threads are recorded that run meanwhile; ``options`` are further ones of ``pyspy record``.

    Raises PyspyError with pyspy's own message where there is no profile, NotPermittedError where this process may not
    be read.
    """
    arguments = ["--rate", str(rate)]
    if format is not None:
        arguments += ["--format", format]
    flags = {"--idle": idle, "--gil": gil, "--threads": threads, "--native": native, "--subprocesses": subprocesses}
    arguments += [flag for flag, is_set in flags.items() if is_set]
    return Recording(output, arguments + list(options))


def dump(*, locals: bool = False, native: bool = False, options: Sequence[str] = ()) -> str:
    """What all threads of this process are doing, as ``pyspy dump`` prints it; with their variables if asked for."""
    arguments: List[str] = ["dump", "--pid", str(os.getpid())]
    arguments += ["--locals"] if locals else []
    arguments += ["--native"] if native else []
    return run_once(arguments + list(options))
