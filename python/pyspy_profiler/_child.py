"""pyspy as a child of ours that reads us: started, allowed, waited for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from typing import IO, List, Optional

from . import _tracing
from ._binary import find_binary
from ._errors import PyspyError, failure

__all__ = ["Recorder", "run_once"]

#: The longest that the first sample is waited for, in seconds: beyond it something holds pyspy.
LONGEST_START = 30.0


class Recorder:
    """``pyspy record`` of this process, from its first sample until it is told to end."""

    def __init__(self, arguments: List[str]) -> None:
        """Returns when the first sample has been taken; whatever goes wrong before leaves nothing behind."""
        self.owner = os.getpid()
        # A file, so that nobody has to read it for pyspy to go on.
        self._said: IO[bytes] = tempfile.TemporaryFile()
        ours, theirs = socket.socketpair()
        try:
            with ours, theirs:
                command = [find_binary(), "record", "--pid", str(self.owner), "--hideprogress"]
                command += ["--control-fd", str(theirs.fileno())] + arguments
                self._process = _start(command, self._said, (theirs.fileno(),))
                theirs.close()
                try:
                    _tracing.allow(self._process.pid)
                    self._wait_until_ready(ours)
                except BaseException:
                    self._abandon()
                    raise
        except BaseException:
            self._said.close()
            raise

    def _wait_until_ready(self, ours: socket.socket) -> None:
        ours.settimeout(LONGEST_START)
        word = b""
        try:
            ours.sendall(b"\n")
            word = ours.recv(16)
        except socket.timeout:
            raise PyspyError("pyspy has taken no sample within %d s" % LONGEST_START) from None
        except OSError:
            # It has ended, which the next line finds.
            pass
        if not word:
            raise failure(self._message(), _wait(self._process))

    def stop(self) -> str:
        """Ends the recording and waits until its file is written. Returns what pyspy says of it."""
        if os.getpid() != self.owner:
            self.forget()
            return ""
        try:
            if self._process.poll() is None:
                # Not SIGINT: of that a second one does not wait for the file.
                self._process.send_signal(signal.SIGTERM)
            status = _wait(self._process)
            message = self._message()
        finally:
            _tracing.take_back(self._process.pid)
            self._said.close()
        if status != 0:
            raise failure(message, status)
        return message

    def forget(self) -> None:
        """In a process that was forked off: the recording is that of its parent, who waits for pyspy."""
        self._process.returncode = 0
        self._said.close()

    def _abandon(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        _tracing.take_back(self._process.pid)

    def _message(self) -> str:
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace")


def run_once(arguments: List[str]) -> str:
    """Runs pyspy to its end, allowed to read us. Returns what it prints."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        process = _start([find_binary()] + arguments, said, (), printed)
        try:
            _tracing.allow(process.pid)
            status = _wait(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            _tracing.take_back(process.pid)
        for file in (printed, said):
            file.seek(0)
        if status != 0:
            raise failure(said.read().decode("utf-8", "replace"), status)
        return printed.read().decode("utf-8", "replace")


def _start(
    command: List[str], said: IO[bytes], descriptors: "tuple[int, ...]", printed: Optional[IO[bytes]] = None
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said if printed is None else printed,
            stderr=said,
            pass_fds=descriptors,
            # A Ctrl-C at the terminal is for us; pyspy ends when the block does.
            start_new_session=True,
        )
    except OSError as error:
        raise PyspyError("cannot start %s: %s" % (command[0], error)) from error


def _wait(process: "subprocess.Popen[bytes]") -> int:
    """Waits for the end of the process. A KeyboardInterrupt meanwhile is raised when it has ended; a second kills it."""
    interrupt: Optional[KeyboardInterrupt] = None
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt as error:
            if interrupt is not None:
                process.kill()
            interrupt = error
    if interrupt is not None:
        raise interrupt
    return status
