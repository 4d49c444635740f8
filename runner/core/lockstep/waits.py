"""`probe.wait`: which unit waits for which probe, and what it is answered.

Belongs here: matching awaited probes against events, and giving up when the awaited units have ended. Must not know
sockets or read a clock; the past is looked up through a function that the session hands in.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, TypeVar

from probe.event import USER_KINDS, Event
from probe.message import Break, Release
from probe.wire import Record
from runner.core.lockstep.quota import Quota
from runner.core.lockstep.timeouts import Timeouts
from runner.model.orders import KEPT_ANSWERS, Directed, is_pattern, meant, patience_of

Past = Callable[[str, str, str | None], Event | None]
"""(unit or pattern, step, key) -> the first event that matches and is in the log already."""

Key = TypeVar("Key")

_USER_KINDS: Final = frozenset(int(kind) for kind in USER_KINDS)


@dataclass(frozen=True, slots=True, eq=False)
class _Wait:
    number: int
    """Units that asked earlier are answered earlier."""
    asker: str
    ask: str
    unit: str
    step: str
    key: str | None
    patience_s: float

    @property
    def size(self) -> int:
        """See `Quota`."""
        return len(self.ask) + len(self.unit) + len(self.step) + len(self.key or "")


class Waits:
    """All waits of one run. `units` are the units of the scenario.

    What a probe, an end or an answer costs depends on the waits that it is about, not on how many there are.
    """

    def __init__(self, units: Sequence[str], past: Past, quota: Quota | None = None) -> None:
        self._units = tuple(units)
        self._past = past
        self._quota = quota or Quota()
        self._ended: dict[str, str] = {}
        self._asked = 0
        self._waiting: dict[tuple[str, str], _Wait] = {}
        """(asker, ask) -> what it waits for."""
        self._by_probe: dict[str, dict[str | None, dict[_Wait, None]]] = {}
        """Step -> key -> the waits for it; without a key: for any."""
        self._by_unit: dict[str, dict[_Wait, None]] = {}
        """Awaited unit or pattern -> the waits for it."""
        self._by_asker: dict[str, dict[_Wait, None]] = {}
        self._timeouts: Timeouts[_Wait] = Timeouts()
        self._answered: dict[tuple[str, str], Break | _Wait] = {}
        """(asker, ask) -> the answer, or the wait that a probe has ended: that answer may hold as much data as a
        probe."""

    def asked(self, event: Event, now_ns: int) -> list[Directed]:
        """A unit waits; `event.data` is as in docs/design.md. A unit that reports it again is answered again."""
        timeout_s = patience_of(event.data.get("timeout_s"))
        self._asked += 1
        wait = _Wait(
            number=self._asked,
            asker=event.unit,
            ask=str(event.data.get("ask", "")),
            unit=str(event.data.get("unit", "*")),
            step=str(event.data.get("step", "")),
            key=event.key,
            patience_s=timeout_s or 0.0,
        )
        if (wait.asker, wait.ask) in self._waiting:
            return []
        if isinstance(broken := self._answered.get((wait.asker, wait.ask)), Break):
            return [Directed(broken, (wait.asker,))]
        if (fired := self._fired(wait)) is not None:
            return [self._answer(wait, fired)]
        if (dead := self._ended_of(wait.unit)) is not None:
            return [self._answer(wait, self._never(wait, dead))]
        if not self._quota.admit(wait.asker, wait.size):
            broken = Break(wait.ask, (wait.asker,), self._quota.why)
            return [Directed(broken, (wait.asker,))] if self._quota.is_answered(wait.asker) else []
        self._add(wait)
        if timeout_s is not None:
            self._timeouts.put(wait, now_ns + int(timeout_s * 1e9))
        return []

    def saw(self, unit: str, records: Iterable[Record]) -> list[Directed]:
        """New events of `unit`; only worth calling while a unit waits (see `waiting`)."""
        orders: list[Directed] = []
        for _, stamp_ns, step, kind, key, data in records:
            if (
                type(step) is str
                and (awaited := self._by_probe.get(step))
                and type(kind) is type(stamp_ns) is int  # it may be rubbish, which answers no wait
                and kind in _USER_KINDS
                and (key is None or type(key) is str)
                and (data is None or type(data) is dict)
            ):
                for wait in _in_turn(unit, awaited.get(None), awaited.get(key) if key is not None else None):
                    self._remove(wait)
                    orders.append(self._answer(wait, _release(wait, unit, stamp_ns, key, data)))
        return orders

    def ended(self, unit: str, why: str) -> list[Directed]:
        """`unit` will emit nothing more; `why` completes the sentence "<unit> ..."."""
        self._ended[unit] = why
        orders = []
        for name in [name for name in self._by_unit if name == unit or (is_pattern(name) and fnmatchcase(unit, name))]:
            if (dead := self._ended_of(name)) is not None:
                for wait in list(self._by_unit[name]):
                    self._remove(wait)
                    orders.append(self._answer(wait, self._never(wait, dead)))
        return orders

    def restarted(self, unit: str) -> None:
        """`unit` lives again."""
        self._ended.pop(unit, None)

    def again(self, unit: str, asks: Sequence[str]) -> list[Directed]:
        """`unit` connected anew and is still blocked on `asks`: repeat the answers that may have been lost."""
        known = [self._answered[unit, ask] for ask in asks if (unit, ask) in self._answered]
        answers = [self._fired(answer) if isinstance(answer, _Wait) else answer for answer in known]
        return [Directed(answer, (unit,)) for answer in answers if answer is not None]

    def answered(self, asker: str, ask: str) -> None:
        """The process that drives the run has answered, perhaps from a past that is not known here."""
        if (wait := self._waiting.get((asker, ask))) is not None:
            self._remove(wait)

    def tick(self, now_ns: int) -> list[Directed]:
        """Breaks what ran out of time."""
        orders = []
        for wait in self._timeouts.take_due(now_ns):
            self._remove(wait)
            why = f"did not emit {wait.step!r} within {wait.patience_s:g} s"
            orders.append(self._answer(wait, Break(wait.ask, (wait.unit,), why, timeout=True)))
        return orders

    @property
    def waiting(self) -> bool:
        """Whether any unit waits."""
        return bool(self._waiting)

    @property
    def next_deadline_ns(self) -> int | None:
        """When `tick` has something to do; None: never, as things are."""
        return self._timeouts.next_ns

    def blocked(self) -> dict[str, str]:
        """Unit -> what it waits for, the newest of it."""
        newest = {asker: next(reversed(waits)) for asker, waits in self._by_asker.items()}
        return {asker: f"{wait.unit}: {wait.step}" for asker, wait in newest.items()}

    def _fired(self, wait: _Wait) -> Release | None:
        """The answer from the log, if it holds one."""
        found = self._past(wait.unit, wait.step, wait.key)
        return None if found is None else _release(wait, found.unit, found.stamp_ns, found.key, dict(found.data))

    def _ended_of(self, name: str) -> tuple[str, ...] | None:
        """The units that `name` means, if there are any and they all have ended."""
        awaited = meant((name,), self._units) if is_pattern(name) else (name,) if name in self._units else ()
        return awaited if awaited and all(unit in self._ended for unit in awaited) else None

    def _never(self, wait: _Wait, dead: tuple[str, ...]) -> Break:
        return Break(wait.ask, dead, f"{self._ended[dead[0]]} and never emitted {wait.step!r}")

    def _add(self, wait: _Wait) -> None:
        self._waiting[wait.asker, wait.ask] = wait
        self._by_probe.setdefault(wait.step, {}).setdefault(wait.key, {})[wait] = None
        self._by_unit.setdefault(wait.unit, {})[wait] = None
        self._by_asker.setdefault(wait.asker, {})[wait] = None

    def _remove(self, wait: _Wait) -> None:
        """It waits no longer."""
        del self._waiting[wait.asker, wait.ask]
        by_key = self._by_probe[wait.step]
        _take_out(by_key, wait.key, wait)
        if not by_key:
            del self._by_probe[wait.step]
        _take_out(self._by_unit, wait.unit, wait)
        _take_out(self._by_asker, wait.asker, wait)
        self._timeouts.drop(wait)
        self._quota.release(wait.asker, wait.size)

    def _answer(self, wait: _Wait, answer: Release | Break) -> Directed:
        self._answered[wait.asker, wait.ask] = answer if isinstance(answer, Break) else wait
        if len(self._answered) > KEPT_ANSWERS:
            del self._answered[next(iter(self._answered))]
        return Directed(answer, (wait.asker,))


def _in_turn(unit: str, *groups: dict[_Wait, None] | None) -> list[_Wait]:
    """Those of `groups` that a probe of `unit` answers, in the order in which they were asked."""
    met = [wait for group in groups if group for wait in group if wait.unit == unit or fnmatchcase(unit, wait.unit)]
    return sorted(met, key=lambda wait: wait.number)


def _take_out(groups: dict[Key, dict[_Wait, None]], name: Key, wait: _Wait) -> None:
    del groups[name][wait]
    if not groups[name]:
        del groups[name]


def _release(wait: _Wait, unit: str, stamp_ns: int, key: str | None, data: dict[str, object] | None) -> Release:
    return Release(wait.ask, unit=unit, step=wait.step, key=key, stamp_ns=stamp_ns, data=data)
