"""The samplers that are compared: how each is run, and what its output says."""

import collections
import json
import os
import re
import shutil
import subprocess

# What one run of a sampler gave. `stacks` maps a tuple of (function, line), oldest first, to how often it was seen;
# `samples` is how often a thread's stack was taken; `lost` how often the tool says itself that it could not.
Run = collections.namedtuple("Run", "samples lost stacks")


class Tool:
    """A sampler. `modes` maps a mode's name to the options that ask for it."""

    name = ""
    # Whether it takes threads that wait as samples in any case.
    takes_waiting = False
    # Whether it ends after so many samples rather than after the time that it was given.
    counts_samples = False
    modes = {"default": []}

    def __init__(self, program):
        self.program = program

    def supports(self, interpreter):
        return True

    def command(self, pid, seconds, rate, mode, output, waiting_too):
        raise NotImplementedError

    def read(self, output, message):
        raise NotImplementedError


def collapsed(path, frame):
    """Stacks of a file of collapsed stacks; `frame` turns the text of one into a function and a line, or nothing."""
    stacks = collections.Counter()
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("#") or not line.strip():
                continue
            labels, _, count = line.rstrip().rpartition(" ")
            stack = tuple(found for found in map(frame, labels.split(";")) if found)
            stacks[stack] += int(count)
    return stacks


def named_first(label):
    """`function (file:line)`, as py-spy writes it."""
    match = re.match(r"(.*) \(.*?:(\d+)\)$", label)
    return (plain(match[1]), int(match[2])) if match else None


def named_between(label):
    """`file:function:line`, as austin and Python write it."""
    parts = label.rsplit(":", 2)
    if len(parts) != 3 or not parts[2].isdigit():
        return None
    return (plain(parts[1]), int(parts[2])) if not parts[0].startswith("tid") else None


def plain(name):
    """A qualified name's last part: the older versions know nothing else."""
    return name.rpartition(".")[2]


class Pyspy(Tool):
    """What reads from outside, as it does without the kernel's help."""

    name = "pyspy"
    modes = {"default": ["--sampler=reader"], "blocking": ["--blocking"],
             "nonblocking": ["--sampler=reader", "--nonblocking"]}

    def command(self, pid, seconds, rate, mode, output, waiting_too):
        options = self.modes[mode] + (["--idle"] if waiting_too else [])
        return [self.program, "record", "-p", str(pid), "-d", str(seconds), "-r", str(rate), "-f", "raw", "-o", output,
                *options]

    def read(self, output, message):
        counts = re.search(r"with (\d+) samples.*?(\d+) lost", message, re.S)
        return Run(int(counts[1]), int(counts[2]), collapsed(output, named_first))

    def dump(self, pid):
        return [self.program, "dump", "-p", str(pid)]


class PyspyKernel(Pyspy):
    """What has the kernel sample."""

    name = "pyspy, kernel"
    modes = {"default": ["--sampler=kernel"]}


class PySpy(Tool):
    name = "py-spy"
    counts_samples = True
    # It stops its target unless told otherwise.
    modes = {"default": [], "blocking": [], "nonblocking": ["--nonblocking"]}
    command = Pyspy.command
    dump = Pyspy.dump

    def read(self, output, message):
        counts = re.findall(r"Samples: (\d+) Errors: (\d+)", message)[-1]
        return Run(int(counts[0]), int(counts[1]), collapsed(output, named_first))


class Austin(Tool):
    """Its only way is to take every thread, waiting or not."""

    name = "austin"
    takes_waiting = True

    def __init__(self, program, mojo2austin):
        super().__init__(program)
        self.mojo2austin = mojo2austin

    def command(self, pid, seconds, rate, mode, output, waiting_too):
        interval = max(1, round(1e6 / rate))
        return [*self.program, "-i", str(interval), "-x", str(seconds), "-o", output, "-p", str(pid)]

    def read(self, output, message):
        text = output + ".txt"
        subprocess.run([self.mojo2austin, output, text], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        # Weights are times; what counts as a sample is one record of the file, which it says itself in a comment.
        with open(text, encoding="utf-8", errors="replace") as file:
            comments = "".join(line for line in file if line.startswith("#"))
        errors = re.search(r"# errors: (\d+)/(\d+)", comments)
        lost = int(errors[1]) if errors else 0
        total = int(errors[2]) if errors else 0
        return Run(total - lost, lost, collapsed(text, named_between))


class Standard(Tool):
    """`profiling.sampling` of the standard library: the target must be of the very version that runs it."""

    name = "profiling.sampling"
    modes = {"default": [], "nonblocking": [], "blocking": ["--blocking"]}

    def __init__(self, interpreter):
        super().__init__(interpreter.path)
        self.interpreter = interpreter

    def supports(self, interpreter):
        return interpreter.path == self.interpreter.path

    def command(self, pid, seconds, rate, mode, output, waiting_too):
        threads = ["-a", "--mode", "wall" if waiting_too else "cpu"]
        options = ["-r", str(rate), "-d", str(seconds), "--collapsed", "-o", output]
        return [self.program, "-m", "profiling.sampling", "attach", *threads, *options, *self.modes[mode], str(pid)]

    def read(self, output, message):
        stacks = collapsed(output, named_between)
        rounds = int(re.search(r"Captured ([\d,]+) samples", message)[1].replace(",", ""))
        share = re.search(r"Error rate: *([\d.]+)", message)
        return Run(sum(stacks.values()), round(rounds * float(share[1]) / 100) if share else 0, stacks)


def find(pyspy, environment, interpreters):
    """The tools that are there; says what is not."""
    found, missing = [], []
    if os.access(pyspy, os.X_OK):
        found.append(Pyspy(pyspy))
        if os.geteuid() == 0:
            found.append(PyspyKernel(pyspy))
        else:
            missing.append("pyspy, kernel: takes root")
    else:
        missing.append(f"pyspy: no program at {pyspy} (cargo build --release)")
    look = os.pathsep.join([os.path.join(environment, "bin"), os.environ.get("PATH", "")])
    py_spy = shutil.which("py-spy", path=look)
    if py_spy:
        found.append(PySpy(py_spy))
    else:
        missing.append("py-spy: not installed (pip install py-spy)")
    austin, reason = find_austin(look, interpreters)
    if austin:
        found.append(austin)
    else:
        missing.append(f"austin: {reason}")
    newest = [interpreter for interpreter in interpreters if interpreter.version >= (3, 15)]
    found.extend(Standard(interpreter) for interpreter in newest)
    if not newest:
        missing.append("profiling.sampling: no Python 3.15")
    return found, missing


def find_austin(look, interpreters):
    """austin, with the loader of a newer C library where the machine's own is too old for it (it wants glibc 2.38)."""
    program, reader = shutil.which("austin", path=look), shutil.which("mojo2austin", path=look)
    if not program or not reader:
        return None, "not installed (pip install austin-dist austin-python)"
    ways = [[program]]
    for interpreter in interpreters:
        root = os.path.dirname(os.path.dirname(os.path.dirname(interpreter.path)))
        for folder, _, files in os.walk(os.path.join(root, "usr", "lib")):
            loaders = (os.path.join(folder, file) for file in files if file.startswith("ld-linux"))
            ways.extend([loader, "--library-path", folder, program] for loader in loaders)
    for way in ways:
        try:
            asked = subprocess.run([*way, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if asked.returncode == 0:
                return Austin(way, reader), ""
        except OSError:
            pass
    return None, "it does not start here (its C library is newer than this machine's)"


def prepare(environment):
    """Makes a virtual environment with the peers that pip has."""
    if not os.path.exists(os.path.join(environment, "bin", "py-spy")):
        subprocess.run([shutil.which("python3"), "-m", "venv", environment], check=True)
        pip = os.path.join(environment, "bin", "pip")
        subprocess.run([pip, "install", "-q", "py-spy", "austin-dist", "austin-python"], check=False)


def build_bench(name):
    """Builds one of our benches; the path of the program."""
    command = ["cargo", "bench", "--no-run", "--bench", name, "--message-format", "json"]
    built = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=os.path.dirname(os.path.abspath(__file__)))
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith(b"{"))
    return next(message["executable"] for message in messages if message.get("executable"))
