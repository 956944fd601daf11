"""What tests/platforms/python-module runs with each interpreter: python_module.py FOLDER.

Prints `passed`, `failed` or `skipped` with what, a line each, and last `end of VERSION`.
"""

import asyncio
import inspect
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import sysconfig
import threading
import time
import traceback

import pyspy_profiler
from pyspy_profiler import _child

#: The most CPU time that entering and leaving a recording may take together, in milliseconds.
LONGEST_MS = 30.0

SLOW_TESTS = """
import time, pytest

def waits():
    time.sleep(0.6)

@pytest.mark.parametrize("case", [1, 2])
def test_slow(case):
    waits()

def test_fast():
    pass
"""


class Unseen(AssertionError):
    """What has run is not in what was recorded of it."""


#: By how much everything is to take longer: on a slow machine a recording of 0.2 s may have a single sample.
slowness = 1


def busy(seconds):
    # Of CPU, so that pyspy has its share of a busy machine meanwhile.
    end = time.thread_time() + seconds * slowness
    while time.thread_time() < end:
        sum(range(1000))


def has(path, *functions):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    missing = [function for function in functions if function not in text]
    if missing:
        raise Unseen("%s not in %s" % (missing, text[:500]))


def left_behind():
    children = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())], stdout=subprocess.PIPE, universal_newlines=True
    ).stdout
    pyspys = [line for line in children.splitlines() if "pyspy" in line.split(None, 1)[1].split(" ")[0]]
    return pyspys, threading.active_count(), sorted(os.listdir("/proc/self/fd"))[:-1]


def test_a_block_is_recorded(folder):
    with pyspy_profiler.record(folder / "block.txt", rate=500) as recording:
        busy(0.3)
    has(folder / "block.txt", "busy (", "test_a_block_is_recorded (")
    assert recording.samples, recording.summary


def test_the_first_sample_is_taken_before_the_block_begins(folder):
    with pyspy_profiler.record(folder / "empty.txt", idle=True):
        pass
    has(folder / "empty.txt", "test_the_first_sample_is_taken_before_the_block_begins (")


def test_a_block_that_raises_has_its_file(folder):
    try:
        with pyspy_profiler.record(folder / "raised.txt", rate=500):
            busy(0.2)
            raise KeyError("of the block")
    except KeyError as error:
        assert error.args == ("of the block",), error
    has(folder / "raised.txt", "busy (")


def test_an_interrupted_block_has_its_file(folder):
    try:
        with pyspy_profiler.record(folder / "interrupted.txt", rate=500):
            busy(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            busy(60)
        raise AssertionError("not interrupted")
    except KeyboardInterrupt:
        pass
    has(folder / "interrupted.txt", "busy (")


def test_recordings_nest(folder):
    with pyspy_profiler.record(folder / "outer.txt", rate=300):
        busy(0.2)
        with pyspy_profiler.record(folder / "inner.txt", rate=300):
            busy(0.2)
    has(folder / "outer.txt", "busy (")
    has(folder / "inner.txt", "busy (")


def test_who_takes_the_samples_can_be_said(folder):
    for options in ["--sampler=auto"], ["--sampler", "reader"], ["--mode=cpu"]:
        with pyspy_profiler.record(folder / "sampler.txt", rate=300, options=options):
            busy(0.2)
        has(folder / "sampler.txt", "busy (")


def test_a_fork_leaves_the_recording_to_its_parent(folder):
    with pyspy_profiler.record(folder / "forked.txt", rate=300) as recording:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                recording.__exit__(None, None, None)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, "the child could not leave the block"
        busy(0.2)
    has(folder / "forked.txt", "busy (")
    assert recording.samples, recording.summary


def test_functions_and_coroutines_are_decorated(folder):
    @pyspy_profiler.record(folder / "function.txt", rate=500)
    def countdown(number):
        busy(0.05)
        return countdown(number - 1) if number else "done"

    assert countdown(3) == "done"
    has(folder / "function.txt", "countdown (")

    @pyspy_profiler.record(folder / "coroutine.txt", rate=500)
    async def waits_and_works():
        await asyncio.sleep(0.05)
        busy(0.2)
        return "done"

    assert inspect.iscoroutinefunction(waits_and_works)
    assert asyncio.run(waits_and_works()) == "done"
    has(folder / "coroutine.txt", "waits_and_works (")


def test_a_dump_shows_this_function(folder):
    marker = "a value of mine"
    text = pyspy_profiler.dump(locals=True)
    assert "test_a_dump_shows_this_function (" in text and marker in text, text


def test_what_goes_wrong_is_said(folder):
    try:
        with pyspy_profiler.record(folder / "no" / "such" / "folder.svg"):
            raise AssertionError("it began")
    except pyspy_profiler.PyspyError as error:
        assert error.status == 7 and "cannot write" in str(error), (error, error.status)
    try:
        pyspy_profiler.dump(options=["--no-such-option"])
        raise AssertionError("nothing raised")
    except pyspy_profiler.PyspyError as error:
        assert error.status == 2 and "--no-such-option" in str(error), error


def test_without_the_right_to_be_read_a_sentence_is_raised(folder):
    # Undumpable, as programs with secrets make themselves: then only root with all rights may read it.
    code = (
        "import ctypes, os, sys, pyspy_profiler\n"
        "os.setgid(4242); os.setuid(4242); ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
        "try:\n"
        "    with pyspy_profiler.record(sys.argv[1]): print('recorded')\n"
        "except pyspy_profiler.NotPermittedError as error: print(error.status, error)\n"
    )
    if os.geteuid() != 0:
        return "skipped"
    own = folder / "of_4242"
    own.mkdir()
    os.chown(str(own), 4242, 4242)
    binary = shutil.copy(pyspy_profiler.find_binary(), str(own / "pyspy"))
    environment = dict(os.environ, PYSPY_BINARY=binary, HOME=str(own))
    ran = subprocess.run(
        [sys.executable, "-c", code, str(own / "out.svg")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment, cwd="/",
    )
    if "Permission denied" in ran.stderr + ran.stdout and not ran.stdout.startswith("4 "):
        # The folders that lead to this interpreter are root's.
        return "skipped"
    assert ran.stdout.startswith("4 ") and "permission denied" in ran.stdout.lower(), (ran.stdout, ran.stderr)


def test_nothing_is_left_behind(folder):
    pyspy_profiler.dump()
    before = left_behind()
    for number in range(3):
        with pyspy_profiler.record(folder / "again.svg"):
            pass
    assert left_behind() == before, (before, left_behind())
    assert not before[0], before


def cpu_ms():
    """What we and the children that have ended have spent, in milliseconds."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return 1000 * sum(one.ru_utime + one.ru_stime for one in spent)


def test_entering_and_leaving_is_quick(folder):
    entering, leaving, cpu = [], [], []
    for number in range(15):
        before, start = cpu_ms(), time.perf_counter()
        recording = pyspy_profiler.record(folder / "quick.svg").__enter__()
        entered = time.perf_counter()
        time.sleep(0.1)
        ended = time.perf_counter()
        recording.__exit__(None, None, None)
        entering.append(1000 * (entered - start))
        leaving.append(1000 * (time.perf_counter() - ended))
        cpu.append(cpu_ms() - before)
    medians = tuple(statistics.median(each) for each in (entering, leaving, cpu))
    print("       entering %.1f ms, leaving %.1f ms, of CPU %.1f ms (medians of 15)" % medians)
    # How long that takes is also up to what else the machine does; what it costs is not. An unoptimized build costs
    # more, and is not what users have; an emulated processor says nothing of it.
    if "debug" not in pyspy_profiler.find_binary() and not os.environ.get("PYSPY_EMULATED"):
        assert min(cpu) < LONGEST_MS, cpu


def test_a_cell_shows_its_picture(folder):
    try:
        import ipykernel  # noqa: F401
        import nbclient
        import nbformat
    except ImportError as error:
        print("       %s" % error)
        return "skipped"
    sources = [
        "%load_ext pyspy_profiler",
        "%%pyspy --rate 500\nimport time\ndef cell_work():\n    end = time.time() + 0.4\n"
        "    while time.time() < end: sum(range(1000))\ncell_work()\nresult = 'kept'",
        "print(result)",
        "%%pyspy\nraise ValueError('of the cell')",
    ]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    kernels = folder / "kernels" / "pyspy-test"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        '{"argv": ["%s", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "x", '
        '"language": "python"}' % sys.executable
    )
    os.environ["JUPYTER_PATH"] = str(folder)
    nbclient.NotebookClient(notebook, kernel_name="pyspy-test", timeout=120, allow_errors=True).execute()
    shown = [output for output in notebook.cells[1].outputs if output.output_type == "display_data"]
    assert len(shown) == 1, notebook.cells[1].outputs
    assert "<iframe" in shown[0].data["text/html"] and "cell_work" in shown[0].data["image/svg+xml"], shown
    assert notebook.cells[2].outputs[0].text == "kept\n", notebook.cells[2].outputs
    kinds = {output.output_type for output in notebook.cells[3].outputs}
    assert "error" in kinds or "ValueError" in str(notebook.cells[3].outputs), notebook.cells[3].outputs


def test_pytest_writes_profiles_of_slow_tests(folder):
    try:
        import pytest  # noqa: F401
    except ImportError as error:
        print("       %s" % error)
        return "skipped"
    (folder / "test_of_theirs.py").write_text(SLOW_TESTS)
    # Where the module is not installed, its entry point is not either.
    command = [sys.executable, "-m", "pytest", "-q", "--pyspy-slow", "0.3", "--pyspy-dir", "profiles"]
    probe = subprocess.run(command[:3] + ["--help"], stdout=subprocess.PIPE, universal_newlines=True, cwd=str(folder))
    if "--pyspy-slow" not in probe.stdout:
        command[3:3] = ["-p", "pyspy_profiler._pytest"]
    ran = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, cwd=str(folder)
    )
    assert ran.returncode == 0, ran.stdout
    written = sorted(os.listdir(str(folder / "profiles")))
    assert written == ["test_of_theirs.py-test_slow.svg"], (written, ran.stdout)
    has(folder / "profiles" / written[0], "waits")
    assert re.search(r"test_of_theirs.py::test_slow: profiles/", ran.stdout), ran.stdout
    # Without the option nothing is recorded.
    shutil.rmtree(str(folder / "profiles"))
    subprocess.run(command[:3] + ["-q"], stdout=subprocess.PIPE, cwd=str(folder), check=True)
    assert not (folder / "profiles").exists()


def run(test, folder):
    """Runs a test in a new folder; until it sees what it has recorded, it takes longer and longer."""
    global slowness
    for slowness in (1, 4, 16):
        shutil.rmtree(str(folder), ignore_errors=True)
        folder.mkdir(parents=True)
        os.chmod(str(folder.parent.parent), 0o755)
        try:
            return test(folder)
        except Unseen:
            if slowness == 16:
                raise


def main():
    from pathlib import Path

    os.environ["COLUMNS"] = "200"
    failed = False
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    assert _child.LONGEST_START
    for name, test in tests:
        try:
            word = run(test, Path(sys.argv[1]) / name) or "passed"
        except BaseException:
            traceback.print_exc()
            word, failed = "failed", True
        print("%s %s" % (word, name[5:].replace("_", " ")), flush=True)
    suffix = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    print("end of %d.%d%s" % (sys.version_info[0], sys.version_info[1], suffix))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
