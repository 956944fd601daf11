"""Chains of what awaits what, as Python itself tells them.

Nothing here is read from memory. Where the language has no attribute for an inner object (an `asend`, the wrapper that
`coroutine.__await__()` makes), the collector's `gc.get_referents` names it.
"""
import gc
import inspect

# Of each chain; a longer one is an error of the program.
LIMIT = 10000


def coroutine_state(coroutine):
    if inspect.iscoroutine(coroutine):
        return inspect.getcoroutinestate(coroutine)
    if inspect.isgenerator(coroutine):
        return inspect.getgeneratorstate(coroutine).replace("GEN_", "CORO_")
    return None


def frame_entry(frame):
    code = frame.f_code
    return [getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno]


def inner_of(thing):
    """Its frame, or None when it has none, and what it awaits, or None."""
    if inspect.iscoroutine(thing):
        return thing.cr_frame, thing.cr_await
    if inspect.isgenerator(thing):
        return thing.gi_frame, thing.gi_yieldfrom
    if inspect.isasyncgen(thing):
        return thing.ag_frame, thing.ag_await
    return None, None


# Of coroutines, generators and asynchronous generators.
AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
# Cython has some that are called the same.
PASSING = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable")


def chain(thing):
    """The entries of what a coroutine awaits, itself first, and the object at the end that is no future, if that or the
    innermost function has no frame."""
    entries = []
    compiled = None
    for _ in range(LIMIT):
        if thing is None or type(thing).__name__ == "FutureIter":
            return entries, compiled
        if is_passing(thing):
            # The only other object that it may hold is a value sent or a default.
            inner = [it for it in gc.get_referents(thing) if not isinstance(it, type) and is_link(it)]
            assert inner, (thing, gc.get_referents(thing))
            thing = inner[0]
            continue
        if is_compiled(thing):
            # It has no line.
            entries.append([thing.__qualname__, None, None])
            compiled = thing
            thing = next(getattr(thing, name) for name in AWAITED if hasattr(thing, name))
            continue
        if not is_frame_holder(thing):
            return entries + [[type(thing).__name__, None, None]], thing
        frame, thing = inner_of(thing)
        if frame is None:
            return entries, None
        entries.append(frame_entry(frame))
        compiled = None
    raise AssertionError("a chain without an end")


def is_passing(thing):
    return is_built_in(thing) and type(thing).__name__ in PASSING


def is_built_in(thing):
    """Whether its type is CPython's or, with or without a module of that name, Cython's."""
    module = type(thing).__module__
    return module == "builtins" or module.startswith("_cython_")


def is_compiled(thing):
    """Whether Cython has compiled it."""
    return is_built_in(thing) and not is_frame_holder(thing) and any(hasattr(thing, name) for name in AWAITED)


def is_frame_holder(thing):
    return inspect.iscoroutine(thing) or inspect.isgenerator(thing) or inspect.isasyncgen(thing)


def is_link(thing):
    return is_frame_holder(thing) or is_passing(thing) or is_compiled(thing) or hasattr(type(thing), "__next__")


def chain_frames(thing):
    frames = []
    while thing is not None:
        if is_passing(thing):
            thing = [it for it in gc.get_referents(thing) if not isinstance(it, type) and is_link(it)][0]
            continue
        frame, thing = inner_of(thing)
        if frame is None:
            break
        frames.append(frame)
    return frames
