"""Exceptions that the program raises in the middle of a probe reach it, whatever raises them, whatever goes on."""

import ctypes
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from probe import handlers, journal, limits, units
from probe.errors import warn
from probe.units import Unit
from tests.support.small_broker import PATIENCE_S, SmallBroker


class Over(Exception):
    """Time is over; a class of the program's own."""


@pytest.fixture
def handle() -> Iterator[Callable[[Any], None]]:
    """Install a handler of SIGUSR1."""
    before = signal.getsignal(signal.SIGUSR1)
    yield functools.partial(signal.signal, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def takes_itself_away(kind: type[Exception]) -> Callable[..., None]:
    def handler(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        raise kind

    return handler


def has_another_raise(kind: type[Exception]) -> Callable[..., None]:
    def handler(*signalled: Any) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        raise_it(*signalled)

    def raise_it(*_: object) -> None:
        raise kind

    return handler


def interrupted(*_: object, **__: object) -> Any:
    """Stands for something that a probe calls, where a signal comes."""
    signal.raise_signal(signal.SIGUSR1)


@pytest.mark.parametrize("handler", [takes_itself_away, has_another_raise])
@pytest.mark.parametrize("kind", [Over, TimeoutError, RuntimeError])
@pytest.mark.parametrize(
    ("where", "what"),
    [(journal, "begin"), (units.clock, "new_incarnation"), (units, "_link_class"), (limits, "_plain")],
)
def test_what_a_handler_raises_that_is_no_handler_any_more_is_its_programs(
    broker: SmallBroker,
    unit: Unit,
    handle: Any,
    monkeypatch: pytest.MonkeyPatch,
    handler: Any,
    kind: type[Exception],
    where: Any,
    what: str,
) -> None:
    handle(handler(kind))
    with monkeypatch.context() as patch:
        patch.setattr(where, what, interrupted)
        with pytest.raises(kind):
            unit.emit("first", odd=object())
    unit.emit("second")
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["second"]


def test_what_a_handler_raises_while_something_is_suppressed_is_its_programs(handle: Any) -> None:
    for _ in range(2):
        handle(takes_itself_away(TimeoutError))
        with pytest.raises(TimeoutError), handlers.suppressed(OSError):
            interrupted()
    with handlers.suppressed(OSError):
        raise TimeoutError


def test_what_a_handler_raises_in_the_middle_of_a_warning_is_its_programs(
    handle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted:
        write = interrupted

    handle(takes_itself_away(Over))
    monkeypatch.setattr(sys, "stderr", Interrupted())
    with pytest.raises(Over):
        warn("something")


def test_what_another_thread_raises_in_a_probe_is_its_programs(broker: SmallBroker, unit: Unit) -> None:
    raised: list[type] = []

    def begin(*_: object) -> None:
        ident = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(Over))
        for _ in range(10):
            pass

    def work() -> None:
        try:
            unit.emit("first")
        except Over as error:
            raised.append(type(error))

    with pytest.MonkeyPatch.context() as patch:
        begin.__globals__["__name__"], name = "probe.journal", __name__
        try:
            patch.setattr(journal, "begin", begin)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        finally:
            begin.__globals__["__name__"] = name
    unit.emit("second")
    assert unit.close(PATIENCE_S)
    assert (raised, broker.steps()) == ([Over], ["second"])


def test_what_a_foreign_object_raises_stays_in_the_probe(broker: SmallBroker, unit: Unit) -> None:
    class Odd:
        def __repr__(self) -> str:
            return helped(sys._getframe(), signal.SIGTERM + 1000)

    def helped(_frame: object, _number: int) -> str:
        raise Over

    class Native:
        __repr__ = functools.partialmethod(ctypes.pythonapi.PyErr_SetNone, ctypes.py_object(Over))

    unit.emit("step", odd=Odd(), native=Native())
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["step"]
