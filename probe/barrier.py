"""The calls that block: `barrier`, `wait` and the start gate, and their async twins, from the unit's side.

Each is an ask: an event that says what is wanted, and then waiting for the order that answers it. Belongs here: asking,
waiting, and what an answer means to the caller. Who is let through when is decided by the runner.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary, ref

from probe.clock import monotonic_ns
from probe.errors import BarrierBroken, BarrierTimeout, WaitBroken, WaitTimeout
from probe.event import Event, Kind
from probe.message import Break, Order, Release
from probe.reply import Reply

if TYPE_CHECKING:
    import asyncio


class Question(NamedTuple):
    """What was asked, to be asked again on a new connection: its answer may be lost with the old one."""

    kind: Kind
    step: str
    key: str | None
    data: dict[str, Any]
    take: Callable[[Order], None]
    """Gets the answer, in any thread."""


class Asker(Protocol):
    """What these calls need of a unit; `probe.units.Unit` is one."""

    @property
    def enabled(self) -> bool: ...
    @property
    def name(self) -> str: ...

    @property
    def cut_off(self) -> str: ...

    incarnation: int
    waiting: "dict[str, Question]"
    rounds: dict[str, int]
    lock: AbstractContextManager[object]

    def record(self, kind: int, step: object, key: object, data: dict[str, Any]) -> None: ...
    def defer(self, kind: int, step: str, key: str | None, data: dict[str, Any]) -> None: ...


START: Final = "start"
"""Step and ask of the start gate."""
PASSED: Final = "passed"
"""Step by which a unit says that it went on at the moment that its release had named."""
LOOP_S: Final = 0.002
"""An event loop sleeps in milliseconds and wakes late by one; so long before its moment it stops, and the thread sleeps
itself."""
MOST_ASKS: Final = 16_384
"""So many calls of a unit may wait for an answer at once; the runner keeps no more either."""
TOO_MANY: Final = f"waits for {MOST_ASKS:,} answers already, and no more are kept"
ANSWER_GRACE_S: Final = 1.0
"""The runner keeps the caller's timeout; so much later the unit stops believing in an answer."""


def pass_barrier(unit: Asker, name: str, timeout_s: float | None, parties: Sequence[str] | None) -> None:
    """See `Unit.barrier`."""
    if unit.enabled:
        ask, data = _arrival(unit, name, timeout_s, parties)
        answer = _ask(unit, ask, Kind.ARRIVE, name, None, data, timeout_s)
        if isinstance(answer, Release) and answer.at_ns:
            _tell_passed(unit, name, ask, _sleep_until(answer.at_ns))
        _let_through(name, answer, timeout_s)


async def pass_barrier_async(unit: Asker, name: str, timeout_s: float | None, parties: Sequence[str] | None) -> None:
    """See `Unit.barrier_async`."""
    if unit.enabled:
        ask, data = _arrival(unit, name, timeout_s, parties)
        answer = await _ask_async(unit, ask, Kind.ARRIVE, name, None, data, timeout_s)
        if isinstance(answer, Release) and answer.at_ns:
            import asyncio

            await asyncio.sleep(max(0.0, _ahead_s(answer.at_ns) - LOOP_S))
            _tell_passed(unit, name, ask, _sleep_until(answer.at_ns))
        _let_through(name, answer, timeout_s)


def wait_for(unit: Asker, what: str, key: str | None, timeout_s: float | None) -> Event | None:
    """See `Unit.wait`."""
    data = _awaited(what, timeout_s)
    if not unit.enabled:
        return None
    ask = data["ask"] = _next_wait(unit)
    return _fired(what, key, _ask(unit, ask, Kind.WAIT, "wait", key, data, timeout_s), timeout_s)


async def wait_for_async(unit: Asker, what: str, key: str | None, timeout_s: float | None) -> Event | None:
    """See `Unit.wait_async`."""
    data = _awaited(what, timeout_s)
    if not unit.enabled:
        return None
    ask = data["ask"] = _next_wait(unit)
    return _fired(what, key, await _ask_async(unit, ask, Kind.WAIT, "wait", key, data, timeout_s), timeout_s)


def await_start(unit: Asker) -> None:
    """Block at the start gate until the runner lets this unit begin. Raises BarrierBroken when it never will."""
    if unit.enabled:
        _let_through(START, _ask(unit, START, Kind.ARRIVE, START, None, {"ask": START}, None), None)


# --- what is asked ---


def _arrival(
    unit: Asker, name: str, timeout_s: float | None, parties: Sequence[str] | None
) -> tuple[str, dict[str, Any]]:
    with unit.lock:
        number = unit.rounds[name] = unit.rounds.get(name, 0) + 1
    ask = f"barrier/{name}/{number}"
    data: dict[str, Any] = {"ask": ask, "round": number}
    if parties is not None:
        data["parties"] = list(parties)
    if timeout_s is not None:
        data["timeout_s"] = float(timeout_s)
    return ask, data


def _awaited(what: str, timeout_s: float | None) -> dict[str, Any]:
    unit, _, step = what.partition(":")
    if not unit.strip() or not step.strip():
        raise ValueError(f'wait({what!r}): say which probe of which unit, as "unit: step"')
    data: dict[str, Any] = {"unit": unit.strip(), "step": step.strip()}
    if timeout_s is not None:
        data["timeout_s"] = float(timeout_s)
    return data


def _next_wait(unit: Asker) -> str:
    """An ask that no other incarnation of this unit has: workers forked from one another share its name."""
    with unit.lock:
        number = unit.rounds[""] = unit.rounds.get("", 0) + 1
    return f"wait/{unit.incarnation}.{number}"


# --- waiting for the answer; None: there was none in time ---


def _patience(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else timeout_s + ANSWER_GRACE_S


def _ask(
    unit: Asker, ask: str, kind: Kind, step: str, key: str | None, data: dict[str, Any], timeout_s: float | None
) -> Order | None:
    if len(unit.waiting) >= MOST_ASKS:
        return Break(ask, (unit.name,), TOO_MANY)
    reply = Reply()
    unit.waiting[ask] = Question(kind, step, key, data, reply.give)
    try:
        unit.record(kind, step, key, data)
        if unit.cut_off:
            return Break(ask, (unit.name,), unit.cut_off)
        return reply.wait(_patience(timeout_s))
    finally:
        unit.waiting.pop(ask, None)
        reply.close()


async def _ask_async(
    unit: Asker, ask: str, kind: Kind, step: str, key: str | None, data: dict[str, Any], timeout_s: float | None
) -> Order | None:
    import asyncio  # nothing else here needs it, and it takes longer to import than the whole package

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Order] = loop.create_future()
    inbox = _inboxes.setdefault(loop, _Inbox(loop))

    def take(order: Order) -> None:
        inbox.put(answer, order)

    if len(unit.waiting) >= MOST_ASKS:
        return Break(ask, (unit.name,), TOO_MANY)
    unit.waiting[ask] = Question(kind, step, key, data, take)
    try:
        unit.record(kind, step, key, data)
        if unit.cut_off:
            return Break(ask, (unit.name,), unit.cut_off)
        async with asyncio.timeout(_patience(timeout_s)):
            return await answer
    except TimeoutError:
        return None
    finally:
        unit.waiting.pop(ask, None)


class _Inbox:
    """Answers on their way into one event loop. Many that come together wake it once: a thousand tasks at one barrier
    would else be a thousand system calls, each of which hands the interpreter from thread to thread."""

    def __init__(self, loop: "asyncio.AbstractEventLoop") -> None:
        self._loop = ref(loop)  # weak, because the loop's entry in `_inboxes` must not keep it alive
        self._answers: deque[tuple[asyncio.Future[Order], Order]] = deque()
        self._called = False

    def put(self, answer: "asyncio.Future[Order]", order: Order) -> None:
        """From any thread."""
        self._answers.append((answer, order))
        loop = self._loop()
        if loop is not None and not self._called:
            self._called = True
            with suppress(RuntimeError):  # it is closed: nothing waits there any more
                loop.call_soon_threadsafe(self._open)

    def _open(self) -> None:
        """In the loop. From here on a new answer calls again."""
        self._called = False
        while self._answers:
            answer, order = self._answers.popleft()
            if not answer.done():
                answer.set_result(order)


_inboxes: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Inbox]" = WeakKeyDictionary()


# --- a release that names its moment ---


def _ahead_s(at_ns: int) -> float:
    """How long that moment is ahead, in seconds."""
    return (at_ns - monotonic_ns()) / 1e9


def _sleep_until(at_ns: int) -> int:
    """Sleep until that moment. The moment at which we woke, which is read before anything else."""
    left_s = _ahead_s(at_ns)
    if left_s > 0:
        time.sleep(left_s)
    return monotonic_ns()


def _tell_passed(unit: Asker, name: str, ask: str, went_ns: int) -> None:
    """Say when it went on, so that how far all were apart is measured and not assumed.

    Not now: on a host with more units than processors, writing and sending it would hold up the others, whose moment
    it is too.
    """
    unit.defer(Kind.STATE, PASSED, f"{name}", {"ask": ask, "went_ns": went_ns})


# --- what the answer means ---


def _let_through(name: str, answer: Order | None, timeout_s: float | None) -> None:
    match answer:
        case Release():
            return
        case Break(who=who, why=why, timeout=False):
            raise BarrierBroken(name, who, why)
        case Break(who=who, why=why):
            raise BarrierTimeout(name, who, why)
    if timeout_s is None:
        raise BarrierBroken(name, (), "does not answer")
    raise BarrierTimeout(name, (), f"gave no answer within {timeout_s:g} s")


def _fired(what: str, key: str | None, answer: Order | None, timeout_s: float | None) -> Event | None:
    match answer:
        case Release():
            return Event(answer.unit, 0, 0, answer.stamp_ns, answer.step, Kind.DEFAULT, answer.key, answer.data or {})
        case Break(who=who, why=why, timeout=False):
            raise WaitBroken(what, key, who, why)
    raise WaitTimeout(what, key, timeout_s or 0.0)
