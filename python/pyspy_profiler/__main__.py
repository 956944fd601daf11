"""``python -m pyspy_profiler`` is ``pyspy``."""

from __future__ import annotations

import os
import subprocess
import sys

from . import PyspyError, find_binary


def main() -> int:
    """Becomes pyspy; on Windows, where no program can become another, waits for it."""
    try:
        binary = find_binary()
        if sys.platform == "win32":
            return subprocess.call([binary] + sys.argv[1:])
        os.execv(binary, [binary] + sys.argv[1:])
    except (OSError, PyspyError) as error:
        print("pyspy_profiler: %s" % error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
