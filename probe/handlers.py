"""Exceptions that others raise in the middle of a probe: a signal handler of the program, or one of its threads.

They belong to the program (a time limit, say), while what goes wrong in a probe is no business of theirs. Belongs here:
telling one from the other. Asked only when there is an exception, so it may take its time.
"""

import signal
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # that of `signal` takes long, and swallows ValueError
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

_OURS: Final = ("probe", "msgpack")
_KNOWN: Final = {*sys.stdlib_module_names, *_OURS, "zmq"}
"""Packages of which every error may be one of a probe."""
_CALLS_OUT: Final = "probe.limits"
"""The module that calls methods of foreign objects, which need not be written in Python."""
_VARARGS: Final = 0x04
"""inspect.CO_VARARGS; that module takes long to import."""
_NUMBERS: Final = tuple(map(int, signal.valid_signals()))


def raised(error: BaseException) -> BaseException | None:
    """What the program has raised in the middle of a probe, if it is that: `error`, which was caught in the frame that
    asks, or what an import has made `error` of. None: `error` is ours, or comes out of code that we have called."""
    found: BaseException | None = error
    while found is not None:
        frames = [entry.tb_frame for entry in _entries(found)]
        if _is_of_handler(frames) or _is_of_thread(found, frames):
            return found
        found = found.__cause__
    return None


class suppressed:  # noqa: N801 - it is used as `contextlib.suppress` is
    """`contextlib.suppress`, but not of what the program has raised."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return isinstance(error, self._kinds) and raised(error) is None


def _entries(error: BaseException) -> Iterator[TracebackType]:
    entry = error.__traceback__
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _is_of_handler(frames: list[FrameType]) -> bool:
    """Whether one of the frames is a signal handler: one that is installed, or one that was, and has taken itself
    away or had another function call it."""
    foreign = [frame for frame in frames if _package(frame) not in _OURS]
    if not foreign:  # as nearly always: it was raised by a probe
        return False
    handlers = [_code(getsignal(number)) for number in _NUMBERS]
    return any(frame.f_code in handlers or _got_a_signal(frame) for frame in foreign)


def _got_a_signal(frame: FrameType) -> bool:
    """Whether what this frame was called with is the number of a signal, and the frame that it interrupts."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    given = [frame.f_locals.get(name) for name in code.co_varnames[:count]]
    if code.co_flags & _VARARGS:
        more = frame.f_locals.get(code.co_varnames[count])
        given += more if isinstance(more, tuple) else ()
    interrupts = frame.f_back is not None and any(value is frame.f_back for value in given)
    return interrupts and any(isinstance(value, int) and value in _NUMBERS for value in given)


def _is_of_thread(error: BaseException, frames: list[FrameType]) -> bool:
    """Whether another thread has raised it here (PyThreadState_SetAsyncExc): nothing that runs knows this class."""
    module = type(error).__module__
    if not frames or (isinstance(module, str) and module.partition(".")[0] in {"builtins", *_KNOWN}):
        return False
    last = frames[-1]
    return _package(last) in _KNOWN and last.f_globals.get("__name__") != _CALLS_OUT


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _code(handler: Any) -> CodeType | None:
    """What runs when `handler` is called; None: nothing that is written in Python."""
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    code = getattr(handler, "__code__", None)  # of a function or a method
    if code is None and callable(handler):
        code = getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
