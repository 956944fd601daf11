"""The kinds of chaos.py that need root: targets of other users, rights that are few, links in folders for all."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

from hostile import acts

HERE = os.path.dirname(os.path.abspath(__file__))
# Users of nobody: that of the target, and one of ours.
THEIRS, OURS = 4343, 4242
# An interpreter that every user may run.
SYSTEM_PYTHON = "/usr/bin/python3"
MOST_MEMORY_KB = 200_000

SETUID_SOURCE = "#include <unistd.h>\nint main(void) { return geteuid() != 0; }\n"
# Children that run Python for a while and then execute a program that is set-uid root; and some that do so at once.
SETUID = """
import os, random, subprocess, sys, time
program, count = sys.argv[1], int(sys.argv[2])
def work(n): return n if n < 2 else work(n - 1) + work(n - 2)
def forks():
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    end = time.monotonic() + random.uniform(0, 0.03)
    while time.monotonic() < end: work(8)
    os.execv(program, [program])
def spawns():
    work(8)
    return subprocess.call([program])
print("ready", flush=True)
sys.stdin.readline()
statuses = [starts() for _ in range(count) for starts in (forks, spawns)]
print(sum(status == 0 for status in statuses), sum(status != 0 for status in statuses), flush=True)
"""
# Of another user, in a folder where everybody may make files: `name` is a link, a FIFO, a file, nothing, by turns.
SWAPS = """
import os, random, sys
name, precious, folder = sys.argv[1:]
print("ready", flush=True)
while True:
    kind = random.randrange(5)
    try:
        if kind == 0: os.symlink(precious, name)
        if kind == 1: os.symlink(folder, name)
        if kind == 2: os.mkfifo(name)
        if kind == 3: open(name, "x").close()
    except FileExistsError:
        pass
    for _ in range(random.randrange(20000)): pass
    try: os.unlink(name)
    except OSError: pass
"""


def as_user(user, *capabilities):
    """The command line that runs a command as another user with these capabilities and no others."""
    words = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    if capabilities:
        names = ",".join(f"+{name}" for name in capabilities)
        words += ["--bounding-set", f"-all,{names}", "--inh-caps", f"-all,{names}", "--ambient-caps", f"-all,{names}"]
    return words


class PrivilegedKinds:
    """Kinds of `Chaos`."""

    def compiled(self, name, source, *options):
        """A program or library made of C, which every user may use."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            os.chmod(self.folder, 0o755)
            subprocess.run(["cc", "-O2", *options, "-o", path, "-x", "c", "-"], input=source, text=True, check=True)
        return path

    def open_folder(self, name, mode=0o777):
        """A folder in which every user may make files."""
        path = os.path.join(self.folder, name)
        os.chmod(self.folder, 0o755)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def public_pyspy(self):
        """A copy of pyspy that every user may run."""
        path = os.path.join(self.open_folder("bin", 0o755), "pyspy")
        if not os.path.exists(path):
            shutil.copy(self.options.pyspy, path)
        return path

    def setuid(self):
        """A set-uid program that is executed while its process is traced gets no rights, unless the tracer has
        CAP_SYS_PTRACE: nothing must be traced just then."""
        program = self.compiled("setuid", SETUID_SOURCE)
        os.chmod(program, 0o4755)
        if subprocess.run([*as_user(THEIRS), program], check=False).returncode:
            self.skip("setuid", "this file system allows no set-uid programs")
            return
        folder = self.open_folder("of_all")
        for who in ("root", "user"):
            for mode in ([], ["--sampler=reader"], ["--native"], ["--blocking"]):
                if (who, mode) != ("user", ["--sampler=reader"]):
                    self.setuid_round(who, mode, program, os.path.join(folder, f"{who}.txt"))

    def setuid_round(self, who, mode, program, output):
        drop = as_user(THEIRS)
        target = subprocess.Popen([*drop, SYSTEM_PYTHON, "-c", SETUID, program, "100"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        target.stdout.readline()
        arguments = ["record", "-r", "1000", "-s", "-i", "-f", "raw", "-o", output, "-p", str(target.pid), *mode]
        pyspy = subprocess.Popen([*(drop if who == "user" else []), self.public_pyspy(), *arguments],
                                 stderr=subprocess.PIPE, text=True)
        # It may be slow to start; that it has come to sample children is seen below.
        time.sleep(1.5)
        target.stdin.write("go\n")
        target.stdin.flush()
        had, lacked = map(int, target.stdout.readline().split())
        target.wait()
        _, said = pyspy.communicate()
        kind = f"setuid {who} {' '.join(mode)}"
        processes = int((re.findall(r"(\d+) processes", said) or [1])[-1])
        self.counts[kind, "processes sampled", processes > 1] += processes
        self.counts[kind, "has its rights", True] += had
        if lacked:
            self.counts[kind, "lacks its rights", False] += lacked

    def scribbles(self):
        """The interpreter that is read is nonsense, of another kind each moment, and belongs to another user."""
        with open(os.path.join(HERE, "scribble.c"), encoding="utf-8") as file:
            library = self.compiled("scribble.so", file.read(), "-shared", "-fPIC", "-fno-stack-protector")
        target = subprocess.Popen([self.options.python, os.path.join(HERE, "scribble_target.py"), library, str(THEIRS)],
                                  stdout=subprocess.PIPE)
        target.stdout.readline()
        output = os.path.join(self.folder, "scribbled.txt")
        record = ["record", "-r", "200", "-d", "1", "-f", "raw", "-o", output]
        for arguments in ([*record, "--sampler=reader"], [*record, "--sampler=auto"], [*record, "--blocking"],
                          [*record, "--native"], ["dump", "-lll", "--all-tasks"],
                          ["dump", "--json", "-ll", "--all-tasks"], ["top", "--json"]):
            self.scribbled(target, arguments, output)
        end(target)

    def scribbled(self, target, arguments, output):
        if os.path.exists(output):
            os.remove(output)
        printed = os.path.join(self.folder, "printed.txt")
        kind = f"scribbles {arguments[0]} {arguments[-1] if arguments[0] == 'record' else ''}"
        with open(printed, "wb") as file:
            process = subprocess.Popen([self.options.pyspy, *arguments, "-p", str(target.pid)], stdout=file,
                                       stderr=subprocess.DEVNULL)
            if arguments[0] == "top":
                time.sleep(1)
                process.send_signal(signal.SIGINT)
            deadline, pid = time.monotonic() + 60, 0
            while not pid and time.monotonic() < deadline:
                time.sleep(0.01)
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid:
                process.kill()
                _, status, usage = os.wait4(process.pid, 0)
                status = None
        process.returncode = "hangs" if status is None else os.waitstatus_to_exitcode(status)
        # What cannot be read is not supported, or no Python.
        allowed = {"record": (0, 5, 6), "dump": (0, 5, 6), "top": (0, 5, 6, 130)}[arguments[0]]
        self.counts[kind, f"status {process.returncode}", process.returncode in allowed] += 1
        self.most(kind, "peak in MB", usage.ru_maxrss // 1000, MOST_MEMORY_KB // 1000)
        for path in (printed, output):
            if os.path.exists(path):
                with open(path, encoding="utf-8") as file:
                    raw = {one for one in set(file.read()) if one != "\n" and acts(one)}
                self.counts[kind, f"raw {raw}" if raw else "nothing raw", not raw] += 1
        self.is_free(kind, target)

    def capability(self):
        """With CAP_SYS_PTRACE and nothing else, as a user whom the target does not belong to."""
        wrapper = [*as_user(OURS, "sys_ptrace"), self.public_pyspy()]
        output = os.path.join(self.open_folder("of_all"), "capability.txt")
        busy = "def work(n): return n if n < 2 else work(n - 1) + work(n - 2)\nprint(flush=True)\nwhile True: work(15)"
        target = subprocess.Popen([*as_user(THEIRS), SYSTEM_PYTHON, "-c", busy], stdout=subprocess.PIPE)
        target.stdout.readline()
        for mode in ([], ["--blocking"], ["--native"]):
            for is_killed in (False, True):
                if os.path.exists(output):
                    os.remove(output)
                arguments = ["record", "-r", "500", "-d", "0.5", "-f", "raw", "-o", output, *mode]
                process = subprocess.Popen([*wrapper, *arguments, "-p", str(target.pid)], stderr=subprocess.DEVNULL)
                kind = f"capability {' '.join(mode)}"
                if is_killed:
                    time.sleep(random.uniform(0.05, 0.4))
                    end(process)
                    time.sleep(0.01)
                else:
                    self.ends(kind, process, (0,))
                    has_work = os.path.exists(output) and "work" in open(output, encoding="utf-8").read()
                    self.counts[kind, "a profile" if has_work else "no profile", has_work] += 1
                self.is_free(kind, target)
        process = subprocess.Popen([*wrapper, "dump", "-l", "-p", str(target.pid)], stdout=subprocess.DEVNULL)
        self.ends("capability dump", process, (0,))
        self.is_free("capability dump", target)
        end(target)

    def links(self):
        """Another user swaps what is at the path of the output all the time."""
        with open("/proc/sys/fs/protected_symlinks", encoding="ascii") as file:
            if file.read().strip() == "0":
                self.skip("links", "fs.protected_symlinks is 0: the kernel itself follows such links")
                return
        folder, own = self.open_folder("sticky", 0o1777), self.open_folder("precious", 0o755)
        precious = os.path.join(own, "precious")
        with open(precious, "w", encoding="ascii") as file:
            file.write("precious")
        os.chmod(precious, 0o600)
        before = os.stat(precious)
        target = self.target()
        path = os.path.join(folder, "out.txt")
        swaps = subprocess.Popen([*as_user(THEIRS), SYSTEM_PYTHON, "-c", SWAPS, path, precious, own],
                                 stdout=subprocess.PIPE)
        swaps.stdout.readline()
        for name in ("raw", "flamegraph", "pyspy"):
            process = self.pyspy("record", "-r", "200", "-d", "0.2", "-f", name, "-o", path, "-p", target.pid)
            self.ends(f"links {name}", process, (0, 7))
            with open(precious, encoding="ascii") as file:
                is_same = file.read() == "precious"
            after = os.stat(precious)
            is_same &= (after.st_uid, after.st_mode, after.st_mtime_ns) == (before.st_uid, before.st_mode,
                                                                           before.st_mtime_ns)
            is_same &= os.listdir(own) == ["precious"]
            self.counts[f"links {name}", "nothing else written" if is_same else "FOLLOWED", is_same] += 1
        end(swaps)
        end(target)


def end(process):
    process.kill()
    process.wait()
