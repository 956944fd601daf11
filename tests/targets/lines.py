"""Runs into a stack whose lines are told in an unusual way, says what lines the interpreter itself sees, and waits.

The word after the name says which way; see the functions. After `ready` comes a line for each frame, the newest first,
`name line`, with `-` for no line, then `end`. The frame of `report` is left out, for it is at work."""
import sys
import threading
import time

THIS_FILE = __file__


def report():
    frame = sys._getframe(1)
    lines = ["ready"]
    while frame is not None:
        line = frame.f_lineno
        lines.append("%s %s" % (frame.f_code.co_name, "-" if line is None or line < 0 else line))
        frame = frame.f_back
    print("\n".join(lines + ["end"]))
    sys.stdout.flush()
    sys.stdin.readline()


def plain():
    """Each frame has a frame object, as after a call of `logging`, which says nothing."""
    (lambda:
        report(

        ))()


def traced():
    """A trace function runs below a `line` event, so that its frame says its line."""
    def local(frame, event, argument):
        if event == "line" and frame.f_lineno == target.__code__.co_firstlineno + 4:
            sys.settrace(None)
            report()
        return local

    def target():
        first = [
            1,
        ]
        second = len(
            first)
        return second

    sys.settrace(lambda frame, event, argument: local if frame.f_code is target.__code__ else None)
    target()


def untraced():
    """It was traced, and no longer is."""
    def local(frame, event, argument):
        return local

    def target():
        first = 1
        sys.settrace(None)
        second = first

        report()
        return second

    sys.settrace(lambda frame, event, argument: local if frame.f_code is target.__code__ else None)
    target()


def jumped():
    """A debugger has set the line that comes next."""
    def local(frame, event, argument):
        if event == "line" and frame.f_lineno == target.__code__.co_firstlineno + 1:
            frame.f_lineno = target.__code__.co_firstlineno + 4
            report()
        return local

    def target():
        first = 1
        second = 2

        third = 3
        return third

    sys.settrace(lambda frame, event, argument: local if frame.f_code is target.__code__ else None)
    target()


def say(frame, line):
    """Writes `f_lineno` as compiled code does, which has no instructions."""
    import ctypes
    import sysconfig
    if sys.version_info < (3, 7):
        place = 124
    elif sys.version_info < (3, 10):
        place = 108
    elif sys.version_info < (3, 11):
        place = 100
    else:
        head = 32 if sysconfig.get_config_var("Py_GIL_DISABLED") else 16
        place = head + 24
    ctypes.c_int.from_address(id(frame) + place).value = line


def said():
    """Frames say lines of their own; up to 3.9 nobody believes that, for they are not traced."""
    def generates():
        say(sys._getframe(), 1001)
        yield report()

    def target():
        say(sys._getframe(), 1002)
        return list(generates())

    target()


def said_traced():
    """The same of frames that are traced, which is believed everywhere."""
    def target():
        frame = sys._getframe()
        frame.f_trace = lambda frame, event, argument: None
        say(frame, 1003)
        report()

    target()


def without_table(function):
    """The function with a code that has no table of lines."""
    code = function.__code__
    if hasattr(code, "replace"):
        table = "co_linetable" if hasattr(code, "co_linetable") else "co_lnotab"
        code = code.replace(**{table: b""})
    else:
        names = """co_argcount co_kwonlyargcount co_nlocals co_stacksize co_flags co_code co_consts co_names co_varnames
            co_filename co_name co_firstlineno co_lnotab co_freevars co_cellvars""".split()
        values = [getattr(code, name) for name in names if hasattr(code, name)]
        values[-3] = b""
        code = type(code)(*values)
    return type(function)(code, function.__globals__, function.__name__)


def tableless():
    """A function without a table of lines calls one that has one."""
    def target():
        report()

    without_table(eval("lambda report: report()"))(target)


def no_line():
    """A function without a table of lines is at work."""
    def spins():
        while True:
            pass

    thread = threading.Thread(target=without_table(spins))
    thread.daemon = True
    thread.start()
    print("ready")
    sys.stdout.flush()
    sys.stdin.readline()


globals()[sys.argv[1]]()
