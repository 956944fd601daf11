"""Where the program is that this package runs."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from typing import Iterator

from ._errors import PyspyError

__all__ = ["find_binary"]

#: Names another build of the program, such as one that is being worked on.
VARIABLE = "PYSPY_BINARY"


def find_binary() -> str:
    """The path of the ``pyspy`` that came with this package, or else of one on PATH."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    name = "pyspy.exe" if sys.platform == "win32" else "pyspy"
    for folder in _script_folders():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    on_path = shutil.which(name)
    if on_path is None:
        raise PyspyError("there is no program %s beside this package or on PATH: install pyspy-profiler again" % name)
    return on_path


def _script_folders() -> Iterator[str]:
    """Where pip puts programs: of this environment, of this user, and beside a folder given by ``--target``."""
    yield sysconfig.get_path("scripts")
    if sys.version_info >= (3, 10):
        yield sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    else:
        yield sysconfig.get_path("scripts", "nt_user" if os.name == "nt" else "posix_user")
    site_packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    yield os.path.join(site_packages, "bin")
    # PREFIX/lib/python3.N/site-packages of a --prefix.
    yield os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(site_packages))), "bin")
