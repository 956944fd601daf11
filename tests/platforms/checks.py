"""Runs pyspy's commands beside real programs and says of each assertion whether it held.

usage: python3 checks.py PYSPY KEEP INTERPRETER...

KEEP is a folder for what is to be looked at afterwards; `dump-VERSION.json` there is what `dump --json` shows of
scene.py, for tests/platforms/compare. Every assertion is a line: `ok`, `FAILED` or `skipped`, the interpreter, what
it is about, and why not. The last line counts them. Exits with 1 if one failed.

With PYSPY_CHECKS_ONLY=WORD only those run that have the word in their names.

Runs on Linux and on Windows, so nothing here asks the system for anything but processes and files.
"""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = os.path.join(os.path.dirname(HERE), "targets")
WINDOWS = os.name == "nt"
# Wine's ntdll has a function for who wants to know.
IS_WINE = WINDOWS and hasattr(__import__("ctypes").windll.ntdll, "wine_get_version")
# Whatever takes longer hangs: an emulated machine needs some seconds for a command.
LIMIT = 120
counts = {"ok": 0, "FAILED": 0, "skipped": 0}


def say(outcome, where, what, why=""):
    counts[outcome] += 1
    print("%-7s %s: %s%s" % (outcome, where, what, why and ": " + why), flush=True)


class Target(object):
    """A program that runs until it is left; it has said `ready`, its number, and those of its children."""

    def __init__(self, interpreter, script, *arguments):
        command = [interpreter, "-u", script] + list(arguments)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline().split()
        # What it has started ends with it.
        self.children = [int(number) for number in line[2:]]
        if line[:1] != [b"ready"]:
            self.process.kill()
            raise AssertionError("%s did not get ready: %r" % (script, line))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        for child in self.children:
            os.kill(child, signal.SIGTERM)
        self.process.communicate()

    @property
    def pid(self):
        return str(self.process.pid)


class Checks(object):
    """The checks of one interpreter."""

    def __init__(self, pyspy, keep, interpreter):
        self.pyspy, self.keep, self.interpreter = pyspy, keep, interpreter
        told = subprocess.run([interpreter, "-c", "import platform; print(platform.python_version())"],
                              stdout=subprocess.PIPE, stdin=subprocess.PIPE)
        self.version = told.stdout.decode().strip()
        self.feature = tuple(int(part) for part in self.version.split(".")[:2])
        # Code objects have had the names of their classes since 3.11.
        self.wait = "Order.wait" if self.feature >= (3, 11) else "wait"

    def run(self, *arguments, **options):
        """What a command wrote on both streams, as text, and its status."""
        environment = dict(os.environ, **options.get("environment", {"NO_COLOR": "1"}))
        done = subprocess.run([self.pyspy] + list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=LIMIT, env=environment)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def good(self, *arguments, **options):
        status, out, errors = self.run(*arguments, **options)
        assert status == 0, "status %s: %s" % (status, errors.strip()[-600:])
        return out

    def file(self, name):
        return os.path.join(self.keep, "%s-%s" % (self.version, name))

    def recorded(self, target, *arguments):
        """The stacks of recordings, a list of frames' texts with a count each: as many as it takes for some samples,
        of which an emulated machine has few in a second."""
        path = self.file("record.raw")
        stacks = []
        deadline = time.monotonic() + LIMIT
        while sum(count for _, count in stacks) < 20:
            assert time.monotonic() < deadline, "few samples: %r" % stacks
            self.good("record", "--pid", target.pid, "-d", "2", "-f", "raw", "-o", path, *arguments)
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    stack, count = line.rsplit(" ", 1)
                    stacks.append((stack.split(";"), int(count)))
        return stacks

    # --- dump -------------------------------------------------------------------------------------------------

    def resting(self, target, *arguments):
        """What a dump shows once no thread of the scene runs any more."""
        deadline = time.monotonic() + LIMIT
        while True:
            threads = json.loads(self.good("dump", "--json", "--pid", target.pid, *arguments))
            innermost = {thread["frames"][0]["name"] for thread in threads}
            if innermost == {self.wait, "read_to_the_end", "sleeper"}:
                if IS_WINE or not any(thread["active"] for thread in threads):
                    return threads
            assert time.monotonic() < deadline, "never at rest: %r" % [
                (thread["thread_name"], thread["active"], thread["frames"][0]["name"]) for thread in threads]
            time.sleep(0.1)

    def check_dump(self):
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            threads = self.resting(target, "--locals")
            with open(os.path.join(self.keep, "dump-%d.%d.json" % self.feature), "w") as kept:
                json.dump(threads, kept)
            names = {thread["thread_name"]: thread for thread in threads}
            assert sorted(names) == ["MainThread", "sleeper", "worker"], sorted(names)
            stack = [frame["name"] for frame in names["worker"]["frames"]][:3]
            assert stack == [self.wait, "handle", "worker"], stack
            assert [frame["line"] for frame in names["worker"]["frames"]][:3] == [22, 29, 33], stack
            values = {local["name"]: local["repr"] for local in names["worker"]["frames"][1]["locals"]}
            assert values == {"order": "<Order number=7 article='schöne Äpfel'>", "total": "7",
                              "prices": "{'apples': 3, 'pears': 4}", "text": "'Grüße, schöne Äpfel'"}, values
            info = threads[0]["process_info"]
            assert info["python_version"] == self.version, info
            assert "scene.py" in info["command_line"], info
            assert str(threads[0]["pid"]) == target.pid

    def check_dump_text(self):
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            self.resting(target)
            text = self.good("dump", "--pid", target.pid)
            for words in ["Process %s: " % target.pid, "scene.py", "Python v" + self.version, '"sleeper"',
                          "(active)" if IS_WINE else "(idle)",
                          "handle (scene.py:29)", "read_to_the_end (scene.py:49)"]:
                assert words in text, "%s: %s" % (words, text)
            assert "\\\\" not in text, "backslashes are doubled: " + text
            assert "\x1b" not in text, "colours in a file: " + text
            coloured = self.good("dump", "--pid", target.pid, environment={"CLICOLOR_FORCE": "1"})
            assert "\x1b[" in coloured, "no colours where they are forced: " + coloured

    def check_dump_nonblocking(self):
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            self.resting(target)
            text = self.good("dump", "--nonblocking", "--pid", target.pid)
            assert "handle (scene.py:29)" in text, text

    def check_dump_native(self):
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            status, out, errors = self.run("dump", "-n", "--json", "--pid", target.pid)
            if WINDOWS:
                assert status == 1 and "--native works on Linux" in errors, (status, errors)
                return
            assert status == 0, errors
            threads = {thread["thread_name"]: thread for thread in json.loads(out)}
            frames = threads["sleeper"]["frames"]
            names = [frame["name"] for frame in frames]
            # What is below runs the thread's first function; it is left out as what runs every thread.
            above = names[:names.index("sleeper")]
            # Until 3.10 a sleep is a select without descriptors.
            assert any("nanosleep" in name or name == "select" for name in above), names

    def check_tasks(self):
        with Target(self.interpreter, os.path.join(HERE, "scene_tasks.py")) as target:
            deadline = time.monotonic() + LIMIT
            while True:
                text = self.good("dump", "--pid", target.pid)
                if all(words in text for words in ["serve", "fetch", "waits"]):
                    break
                assert time.monotonic() < deadline, text
                time.sleep(0.1)
            for words in ["fetch (scene_tasks.py:11)", "serve (scene_tasks.py:16)"]:
                assert words in text, "%s: %s" % (words, text)

    # --- record and top ---------------------------------------------------------------------------------------

    def check_truth(self):
        """No stack that cannot be, of a program that changes its stack all the time."""
        with Target(self.interpreter, os.path.join(TARGETS, "chains.py")) as target:
            for mode in [[], ["--blocking"]]:
                stacks = self.recorded(target, "--rate", "200", *mode)
                false = [(stack, count) for stack, count in stacks if not is_in_one_chain(stack)]
                assert not false, false

    def record_until(self, target, path, look):
        """Records for longer and longer until what `look` sees is right: a second of a slow machine may be empty."""
        for seconds in ["1", "4", "16", "64"]:
            self.good("record", "--pid", target.pid, "-d", seconds, "-o", path)
            is_right, seen = look()
            if is_right:
                return
        raise AssertionError("%s: %r" % (path, seen))

    def check_formats(self):
        with Target(self.interpreter, os.path.join(TARGETS, "chains.py")) as target:
            for name, words in [("p.svg", "<svg"), ("p.html", "<html"), ("p.speedscope.json", "$schema"),
                                ("p.pstats", "chains"), ("p.pyspy", "")]:
                path = self.file(name)

                def has_words():
                    with open(path, "rb") as file:
                        content = file.read().decode(errors="replace")
                    return words in content and len(content) > 100, content[:200]

                self.record_until(target, path, has_words)

            def has_main():
                text = self.good("convert", path, "-f", "raw", "-o", "-")
                return "main" in text, text

            self.record_until(target, path, has_main)

    def check_idle(self):
        """A thread that sleeps is not recorded, unless that is asked for."""
        if IS_WINE:
            raise Skipped("wine tells no states of threads, so all of them count as running")
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            self.resting(target)
            path = self.file("idle.raw")
            self.run("record", "--pid", target.pid, "-d", "1", "-f", "raw", "-o", path)
            with open(path, encoding="utf-8") as file:
                found = file.read()
            assert not found.strip(), "idle threads were recorded: " + found
            stacks = self.recorded(target, "--idle", "--threads")
            text = "\n".join(";".join(stack) for stack, _ in stacks)
            for words in ["sleeper", self.wait, "read_to_the_end"]:
                assert words in text, "%s: %s" % (words, text)

    def check_program(self):
        """`record -- program` ends when the program does, and has what that did."""
        path = self.file("program.raw")
        script = os.path.join(HERE, "brief.py")
        # Where everything is slow, a program of two seconds may end before it has been read, which is status 8.
        for seconds in ["2", "8", "32"]:
            status, _, errors = self.run("record", "-f", "raw", "-o", path, "--", self.interpreter, script, seconds)
            if status != 8 and os.path.getsize(path) > 0:
                break
        assert status == 0, (status, errors)
        with open(path, encoding="utf-8") as file:
            found = file.read()
        assert "compute (brief.py" in found, found
        for seconds in ["2", "8", "32"]:
            status, _, errors = self.run("record", "--exit-status", "-f", "raw", "-o", path, "--", self.interpreter,
                                         script, seconds, "3")
            if status != 8:
                break
        assert status == 3, (status, errors)
        status, _, errors = self.run("record", "-o", path, "--", "no-such-program-here", "x")
        assert status == 9, (status, errors)

    def check_subprocesses(self):
        with Target(self.interpreter, os.path.join(HERE, "parent.py")) as target:
            deadline = time.monotonic() + LIMIT
            while True:
                threads = json.loads(self.good("dump", "--json", "--subprocesses", "--pid", target.pid))
                if len({thread["pid"] for thread in threads}) == 2:
                    break
                assert time.monotonic() < deadline, threads
            stacks = self.recorded(target, "--subprocesses")
            assert any("compute (brief.py" in frame for stack, _ in stacks for frame in stack), stacks

    def check_top(self):
        with Target(self.interpreter, os.path.join(TARGETS, "chains.py")) as target:
            def shows_chains():
                text = self.good("top", "--once", "--pid", target.pid)
                return re.search(r"\bc\d_\d\b", text) and "main" in text, text

            wait_until(shows_chains)
            window = json.loads(self.good("top", "--once", "--json", "--pid", target.pid).splitlines()[0])
            assert window, window

    def check_interrupt(self):
        """Ctrl-C ends a recording, and its file is written; so do Ctrl-Break and a console that closes on Windows."""
        for what in ["c", "break", "close"] if WINDOWS else ["c"]:
            self.interrupt(what)

    def interrupt(self, what):
        path = self.file("interrupt-%s.raw" % what)
        if os.path.exists(path):
            os.remove(path)
        command, options = [], {}
        if WINDOWS:
            command = [self.interpreter, os.path.join(HERE, "console.py"), what]
            options["creationflags"] = subprocess.CREATE_NO_WINDOW
        with Target(self.interpreter, os.path.join(TARGETS, "chains.py")) as target:
            command += [self.pyspy, "record", "--pid", target.pid, "-f", "raw", "-o", path, "--every", "5"]
            recording = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, env=dict(os.environ, NO_COLOR="1"), **options)
            # The file that is written meanwhile says that it records; the next would come five seconds later.
            deadline = time.monotonic() + LIMIT
            while not os.path.exists(path):
                assert time.monotonic() < deadline and recording.poll() is None, "it does not record"
                time.sleep(0.05)
            os.remove(path)
            if not WINDOWS:
                recording.send_signal(signal.SIGINT)
            _, errors = recording.communicate(b"\n", timeout=LIMIT)
            assert recording.returncode == 0, (what, recording.returncode, errors)
        with open(path, encoding="utf-8") as file:
            assert "main" in file.read()

    # --- the rest ---------------------------------------------------------------------------------------------

    def check_core(self):
        """A core file of the kernel shows what the process showed."""
        if WINDOWS:
            status, _, errors = self.run("dump", "--core", self.pyspy)
            assert status == 10, (status, errors)
            return
        pattern = "/proc/sys/kernel/core_pattern"
        with open(pattern) as file:
            if not file.read().startswith("/tmp/core-of-checks"):
                raise Skipped("the kernel writes cores elsewhere; where it does to /tmp/core-of-checks.%p it is tried")
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            living = self.resting(target, "--locals")
            os.kill(int(target.pid), signal.SIGABRT)
            target.process.wait()
            core = "/tmp/core-of-checks." + target.pid
            assert os.path.exists(core), "the kernel wrote no core"
            dead = json.loads(self.good("dump", "--json", "--locals", "--core", core))
            os.remove(core)
        assert stacks_of(dead) == stacks_of(living), (stacks_of(dead), stacks_of(living))

    def check_refusals(self):
        status, _, errors = self.run("dump", "--pid", "2147483000")
        assert status == 3 and "there is no process" in errors, (status, errors)
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            other = subprocess.Popen([self.pyspy, "record", "--pid", target.pid, "-d", "600", "-f", "raw", "-o",
                                      self.file("other.raw")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
            try:
                status, _, errors = self.run("dump", "--pid", str(other.pid))
            finally:
                other.kill()
                other.communicate()
            assert status == 5, (status, errors)
            if WINDOWS:
                assert "ps -fp" not in errors and "sudo" not in errors, errors

    def check_kernel(self):
        status, _, errors = self.run("record", "--sampler=kernel", "-d", "1", "-f", "raw", "-o",
                                     self.file("kernel.raw"), "--", self.interpreter, os.path.join(HERE, "brief.py"),
                                     "1")
        import platform
        if WINDOWS or platform.machine() != "x86_64":
            assert status == 1 and "on Linux with x86-64 only" in errors, (status, errors)
        elif status != 0:
            raise Skipped(errors.strip())

    def check_watch(self):
        """A call that lasts is evidence, or it is said why nothing is watched here."""
        folder = self.file("watch")
        with Target(self.interpreter, os.path.join(HERE, "scene.py")) as target:
            if not WINDOWS:
                os.makedirs(folder)
            status, _, errors = self.run("watch", "--pid", target.pid, "--call", "handle:1s", "--dumps", "1",
                                         "--timeout", "15s", "-o", folder)
        if WINDOWS:
            assert status == 1 and "watch works on Linux only" in errors, (status, errors)
            return
        assert status == 0, (status, errors)
        found = [name for _, _, names in os.walk(folder) for name in names]
        assert any(name.startswith("dump") for name in found), (found, errors)

    def all(self, only):
        """Every check whose name has `only` in it."""
        for name in [name for name in dir(self) if name.startswith("check_") and only in name]:
            what = name[len("check_"):].replace("_", " ")
            try:
                getattr(self, name)()
                say("ok", self.version, what)
            except Skipped as reason:
                say("skipped", self.version, what, str(reason))
            except Exception as error:
                say("FAILED", self.version, what, "%s: %s" % (type(error).__name__, error))


class Skipped(Exception):
    """Why something cannot be tried here."""


def wait_until(is_so):
    """Tries until what it returns is true: a second on a slow machine may be without a sample."""
    deadline = time.monotonic() + LIMIT
    while True:
        holds, seen = is_so()
        if holds:
            return
        assert time.monotonic() < deadline, seen


def is_in_one_chain(stack):
    """Whether chains.py can have this stack: main at the line that calls a chain, and the beginning of that chain."""
    names = [frame.split(" (")[0] for frame in stack]
    if names[:2] != ["<module>", "main"]:
        return False
    chain = names[2:]
    if not chain:
        return True
    number = chain[0].split("_")[0].lstrip("c")
    line = re.search(r":(\d+)\)$", stack[1])
    if not number.isdigit() or not line or int(line.group(1)) != 221 + int(number):
        return False
    possible = ["c%s_%d" % (number, step) for step in range(8)] + ["p" + number]
    return chain == possible[:len(chain)]


def stacks_of(threads):
    keys = ["name", "filename", "line", "column"]
    return [[thread["thread_name"], thread["os_thread_id"],
             [[frame[key] for key in keys] + [[local["name"], local["repr"]] for local in frame["locals"] or []]
              for frame in thread["frames"]]] for thread in threads]


def main():
    pyspy, keep, interpreters = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if not os.path.isdir(keep):
        os.makedirs(keep)
    for interpreter in interpreters:
        Checks(pyspy, keep, interpreter).all(os.environ.get("PYSPY_CHECKS_ONLY", ""))
    print("%(ok)d passed, %(FAILED)d failed, %(skipped)d skipped" % counts, flush=True)
    return 1 if counts["FAILED"] or not counts["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
