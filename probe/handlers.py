"""Exceptions that a signal handler of the program raises while it is in the middle of a probe.

They belong to the program (a time limit, say), while what goes wrong in a probe belongs to nobody. Belongs here:
telling one from the other. Asked only when there is an exception, so it may take its time.
"""

import signal
from _signal import getsignal  # type: ignore[import-not-found]  # that of `signal` takes long, and swallows ValueError
from types import CodeType
from typing import Any, Final

_OURS: Final = ("probe", "msgpack")
_NUMBERS: Final = tuple(map(int, signal.valid_signals()))


def raised(error: BaseException) -> bool:
    """Whether `error`, which was caught in the frame that asks, comes out of a signal handler, whatever that has
    interrupted."""
    codes = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] not in _OURS:
            codes.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    if not codes:  # as nearly always: it was raised by a probe
        return False
    handlers = [_code(getsignal(number)) for number in _NUMBERS]
    return any(code in handlers for code in codes)


def _code(handler: Any) -> CodeType | None:
    """What runs when `handler` is called; None: nothing that is written in Python."""
    while hasattr(handler, "func"):  # functools.partial
        handler = handler.func
    code = getattr(handler, "__code__", None)  # of a function or a method
    if code is None and callable(handler):
        code = getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
