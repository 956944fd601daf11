"""A plugin of pytest: ``--pyspy-slow SECONDS`` writes a profile of each test that takes longer.

One recording runs through the whole session, so that a test costs nothing by itself; at its end what happened below
the function of each slow test is made a picture of.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Dict, List, Optional

import pytest

from ._child import run_once
from ._errors import PyspyError
from ._recording import Recording

__all__ = ["pytest_addoption", "pytest_configure"]

RATE = "200"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("pyspy", "profiles of slow tests")
    group.addoption(
        "--pyspy-slow", metavar="SECONDS", type=float, help="write a profile of each test that takes longer than this"
    )
    group.addoption(
        "--pyspy-dir", metavar="FOLDER", default="pyspy-profiles", help="where to, as NAME.svg (%(default)s)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Does nothing unless it is asked for."""
    if config.getoption("--pyspy-slow") is not None and not config.getoption("collectonly"):
        config.pluginmanager.register(SlowTests(config), "pyspy-slow-tests")


class SlowTests:
    """Records the session, and writes profiles of its slow tests at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.limit: float = config.getoption("--pyspy-slow")
        self.folder = Path(config.getoption("--pyspy-dir"))
        self.scratch: Optional["tempfile.TemporaryDirectory[str]"] = None
        self.recording: Optional[Recording] = None
        self.functions: Dict[str, str] = {}
        self.slow: List[str] = []
        self.lines: List[str] = []

    def pytest_sessionstart(self) -> None:
        self.scratch = tempfile.TemporaryDirectory()
        # Tests that wait are slow, too.
        recording = Recording(Path(self.scratch.name, "session.pyspy"), ["--rate", RATE, "--idle"])
        try:
            self.recording = recording.__enter__()
        except PyspyError as error:
            self.lines.append(str(error))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        function = getattr(item, "originalname", None) or item.name
        self.functions[item.nodeid] = function

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.duration > self.limit and report.nodeid in self.functions:
            self.slow.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self.recording is not None:
            try:
                self.recording.__exit__(None, None, None)
                self.write()
            except PyspyError as error:
                self.lines.append(str(error))
        if self.scratch is not None:
            self.scratch.cleanup()

    def write(self) -> None:
        """A picture of each slow test, the cases of one test together."""
        written: Dict[str, Path] = {}
        for nodeid in self.slow:
            name = nodeid.split("[", 1)[0]
            if name in written:
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / (re.sub(r"[^\w.-]+", "-", name.replace(os.sep, "-")) + ".svg")
            source = str(self.recording.output) if self.recording else ""
            try:
                run_once(["convert", source, "--below", self.functions[nodeid], "--output", str(path)])
            except PyspyError as error:
                self.lines.append("%s: %s" % (nodeid, error))
                continue
            written[name] = path
            self.lines.append("%s: %s" % (name, path))

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        if self.lines:
            terminalreporter.section("profiles of slow tests")
            for line in self.lines:
                terminalreporter.line(line)
