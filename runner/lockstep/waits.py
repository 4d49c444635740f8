"""`probe.wait`: who waits for which probe, and what is said to them.

Belongs here: matching awaited probes against events, and giving up when the awaited units have ended. Must not know
sockets or read a clock; the past is looked up through a function that the session hands in.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from probe.event import USER_KINDS, Event
from probe.message import Break, Order, Release
from probe.wire import Record
from runner.orders import KEPT_ANSWERS, Directed, meant, patience_of

Past = Callable[[str, str, str | None], Event | None]
"""(unit or pattern, step, key) -> the first event that matches and is in the log already."""

_USER_KINDS = frozenset(int(kind) for kind in USER_KINDS)


@dataclass(frozen=True, slots=True)
class _Wait:
    asker: str
    ask: str
    unit: str
    step: str
    key: str | None
    deadline_ns: int | None
    patience_s: float

    def is_met_by(self, unit: str, record: Record) -> bool:
        _, stamp_ns, step, kind, key, data = record
        return (
            step == self.step
            and type(kind) is type(stamp_ns) is int  # it may be rubbish, which is told to nobody
            and kind in _USER_KINDS
            and (key is None or type(key) is str)
            and (data is None or type(data) is dict)
            and (self.key is None or key == self.key)
            and fnmatchcase(unit, self.unit)
        )


class Waits:
    """All waits of one run. `units` are the units of the scenario."""

    def __init__(self, units: Sequence[str], past: Past) -> None:
        self._units = tuple(units)
        self._past = past
        self._ended: dict[str, str] = {}
        self._standing: list[_Wait] = []
        self._answers: dict[tuple[str, str], Order] = {}

    def asked(self, event: Event, now_ns: int) -> list[Directed]:
        """A unit waits; `event.data` is as in docs/design.md."""
        timeout_s = patience_of(event.data.get("timeout_s"))
        wait = _Wait(
            asker=event.unit,
            ask=str(event.data.get("ask", "")),
            unit=str(event.data.get("unit", "*")),
            step=str(event.data.get("step", "")),
            key=event.key,
            deadline_ns=now_ns + int(timeout_s * 1e9) if timeout_s is not None else None,
            patience_s=timeout_s or 0.0,
        )
        if (found := self._past(wait.unit, wait.step, wait.key)) is not None:
            return [self._answer(wait, _release(wait, found.unit, found.stamp_ns, found.key, dict(found.data)))]
        self._standing.append(wait)
        return self._give_up([wait])

    def saw(self, unit: str, records: Iterable[Record]) -> list[Directed]:
        """New events of `unit`; only worth calling while somebody waits (see `standing`)."""
        orders = []
        for record in records:
            for wait in [wait for wait in self._standing if wait.is_met_by(unit, record)]:
                self._standing.remove(wait)
                orders.append(self._answer(wait, _release(wait, unit, record[1], record[4], record[5])))
        return orders

    def ended(self, unit: str, why: str) -> list[Directed]:
        """`unit` will emit nothing more; `why` completes the sentence "<unit> ..."."""
        self._ended[unit] = why
        return self._give_up(self._standing)

    def restarted(self, unit: str) -> None:
        """`unit` lives again."""
        self._ended.pop(unit, None)

    def again(self, unit: str, asks: Sequence[str]) -> list[Directed]:
        """`unit` connected anew and is still blocked on `asks`: repeat the answers that may have been lost."""
        return [Directed(self._answers[unit, ask], (unit,)) for ask in asks if (unit, ask) in self._answers]

    def answered(self, asker: str, ask: str) -> None:
        """Whoever drives the run has answered, were it from a past that is not known here."""
        self._standing = [wait for wait in self._standing if (wait.asker, wait.ask) != (asker, ask)]

    def tick(self, now_ns: int) -> list[Directed]:
        """Breaks what ran out of time."""
        late = [wait for wait in self._standing if wait.deadline_ns is not None and now_ns >= wait.deadline_ns]
        return [
            self._break(wait, (wait.unit,), f"did not emit {wait.step!r} within {wait.patience_s:g} s", timeout=True)
            for wait in late
        ]

    @property
    def standing(self) -> bool:
        """Whether anybody waits."""
        return bool(self._standing)

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do; None: never, as things stand."""
        return min((wait.deadline_ns for wait in self._standing if wait.deadline_ns is not None), default=None)

    def blocked(self) -> dict[str, str]:
        """Unit -> what it waits for."""
        return {wait.asker: f"{wait.unit}: {wait.step}" for wait in self._standing}

    def _give_up(self, waits: Sequence[_Wait]) -> list[Directed]:
        """Break those of `waits` whose awaited units have all ended."""
        orders = []
        for wait in list(waits):
            awaited = meant((wait.unit,), self._units)
            if awaited and all(unit in self._ended for unit in awaited):
                why = f"{self._ended[awaited[0]]} and never emitted {wait.step!r}"
                orders.append(self._break(wait, awaited, why))
        return orders

    def _break(self, wait: _Wait, who: tuple[str, ...], why: str, *, timeout: bool = False) -> Directed:
        self._standing.remove(wait)
        return self._answer(wait, Break(wait.ask, who, why, timeout))

    def _answer(self, wait: _Wait, answer: Order) -> Directed:
        self._answers[wait.asker, wait.ask] = answer
        if len(self._answers) > KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]
        return Directed(answer, (wait.asker,))


def _release(wait: _Wait, unit: str, stamp_ns: int, key: str | None, data: dict[str, object] | None) -> Release:
    return Release(wait.ask, unit=unit, step=wait.step, key=key, stamp_ns=stamp_ns, data=data)
