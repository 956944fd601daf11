"""Installs the wheel from a folder into a new environment, uses it as its users do, and removes it again.

usage: python3 installed.py WHEELS

The interpreter that runs it is the one whose environment is made. What python_module.py tries is tried in there, too.
Every assertion is a line, as those of checks.py; the last line counts them. Exits with 1 if one failed.
"""
import glob
import os
import platform
import subprocess
import sys
import tempfile
import venv

from checks import HERE, LIMIT, Skipped, Target, counts, say

#: Records its own process, and says what came of it.
RECORDS_ITSELF = """
import sys, time, pyspy_profiler
def computes(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: sum(range(1000))
with pyspy_profiler.record(sys.argv[1], rate=200) as recording: computes(1)
print(recording.summary)
"""


class Environment(object):
    """The checks of a new environment in a folder; they build on each other, in this order."""

    def __init__(self, folder, wheels):
        self.folder, self.wheels = folder, wheels
        # Debian has pip for environments in a package of its own, the same for all versions.
        packaged = glob.glob("/usr/share/python-wheels/pip-*.whl")
        venv.create(folder, with_pip=not packaged)
        self.python = os.path.join(folder, "bin", "python")
        self.pip = [self.python] + ([packaged[0] + "/pip"] if packaged else ["-m", "pip"])
        self.pyspy = os.path.join(folder, "bin", "pyspy")
        self.before = files(folder)

    def run(self, *command):
        environment = dict(os.environ, NO_COLOR="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
        environment.pop("PYSPY_BINARY", None)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=environment, timeout=8 * LIMIT, cwd=self.folder)
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, "status %d: %s" % (done.returncode, text[-2000:])
        return text

    def check_1_pip_installs_it(self):
        self.run(*self.pip + ["install", "--quiet", "--no-index", "--find-links", self.wheels, "pyspy-profiler"])

    def check_2_both_ways_to_start_it_are_the_same(self):
        told = self.run(self.pyspy, "--version")
        assert told.startswith("pyspy ") and platform.machine() in told, told
        assert told == self.run(self.python, "-m", "pyspy_profiler", "--version"), told
        print("        " + told.strip())

    def check_3_it_shows_another_process(self):
        scope = "/proc/sys/kernel/yama/ptrace_scope"
        if os.geteuid() != 0 and os.path.exists(scope) and open(scope).read().strip() != "0":
            raise Skipped("only root may read other processes here (%s)" % scope)
        with Target(self.python, os.path.join(HERE, "scene.py")) as target:
            text = self.run(self.pyspy, "dump", "--pid", target.pid)
            assert "read_to_the_end (scene.py:" in text, text

    def check_4_it_records_a_program(self):
        for seconds in ["1", "4", "16", "64"]:
            text = self.run(self.pyspy, "record", "-f", "raw", "-o", "-", "--", self.python,
                            os.path.join(HERE, "brief.py"), seconds)
            if "compute (brief.py" in text:
                return
        raise AssertionError(text)

    def check_5_the_module_records_its_process(self):
        picture = os.path.join(self.folder, "own.svg")
        told = self.run(self.python, "-c", RECORDS_ITSELF, picture)
        assert "samples in" in told, told
        with open(picture, encoding="utf-8") as file:
            assert "computes" in file.read()
        os.remove(picture)

    def check_6_the_module_as_a_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            told = self.run(self.python, os.path.join(HERE, "python_module.py"), os.path.join(folder, "files"))
        lines = told.splitlines()
        passed = [line for line in lines if line.startswith("passed ")]
        print("        %d of python_module.py passed; skipped: %s" % (
            len(passed), ", ".join(line[len("skipped "):] for line in lines if line.startswith("skipped "))))
        assert passed and "\nend of " in told, told

    def check_7_nothing_is_left_once_it_is_removed(self):
        self.run(*self.pip + ["uninstall", "--quiet", "--yes", "pyspy-profiler"])
        after = files(self.folder)
        assert after == self.before, after ^ self.before


def files(folder):
    """What is below a folder, without what Python writes when it runs."""
    found = set()
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found.update(os.path.join(at, name) for name in folders + names)
    return found


def main():
    wheels = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        environment = Environment(os.path.join(folder, "environment"), wheels)
        for name in sorted(name for name in dir(environment) if name.startswith("check_")):
            what = name[len("check_1_"):].replace("_", " ")
            try:
                getattr(environment, name)()
                say("ok", platform.python_version(), what)
            except Skipped as reason:
                say("skipped", platform.python_version(), what, str(reason))
            except Exception as error:
                say("FAILED", platform.python_version(), what, "%s: %s" % (type(error).__name__, error))
    print("%(ok)d passed, %(FAILED)d failed, %(skipped)d skipped" % counts, flush=True)
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
