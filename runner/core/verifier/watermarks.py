"""How far the evidence of every unit is complete.

Belongs here: incarnations, their watermarks and endings. Must not know circuits.

A unit's mark is the smallest watermark of its incarnations that are not final. A unit that has not ended and has no
such incarnation (not joined yet, or between two lives) has none, which holds decisions back; a unit that has ended is
complete for ever.

What a unit has not emitted by then is another matter: one that was stopped might have emitted later whatever was
not due yet. So a deadline is decided by what is known, and by what the unit had time for.

A process is not known before it is heard or listed. So where supervisors list the journals of their hosts, a mark does
not pass the last listing of any host where the unit may have processes: a process that emitted something before that
listing has joined.
"""

from collections.abc import Collection, Iterable
from math import inf
from typing import NamedTuple


class Horizon(NamedTuple):
    """How far it is decided what some units have not emitted."""

    stamp_ns: float
    """Every deadline up to this stamp has passed for all of them."""
    final: bool
    """All of them have come to their end: so what has no deadline will not come any more."""
    cut_short: bool = False
    """Some of them were cut off: what they had not done yet might have come, and others may have waited for it."""

    def decides(self, due_ns: int | None) -> bool:
        """Whether what was due by then, or never, and has not come, is absent."""
        return self.final if due_ns is None else due_ns <= self.stamp_ns


class Watermarks:
    """The marks of all units. `declared` are known from the beginning, the others once they say something."""

    def __init__(self, declared: Iterable[str]) -> None:
        self.marks: dict[str, float] = dict.fromkeys(declared, -inf)
        """Unit -> everything it emitted up to this stamp is known."""
        self._live: dict[str, dict[int, float]] = {unit: {} for unit in self.marks}
        self._final: dict[str, set[int]] = {unit: set() for unit in self.marks}
        self._ended: set[str] = set()
        self._stopped: dict[str, float] = {}
        """Unit that has ended -> when it was stopped; not there: it ended by itself."""
        self._cut_off: set[str] = set()
        """Units that have ended because the run was interrupted."""
        self._listed: dict[str, float] = {}
        """Supervisor -> up to which stamp all processes are known that emitted anything on its host."""
        self._supervisors: dict[str, set[str]] = {}
        """Unit -> those on whose hosts it may have processes."""
        self._bounds: dict[str, float] = {}
        """Unit -> the smallest listing of those; not there: none of them lists."""

    def join(self, unit: str, incarnation: int) -> None:
        """An incarnation begins (or says so again)."""
        live = self._live.setdefault(unit, {})
        if incarnation not in live and incarnation not in self._final.setdefault(unit, set()):
            live[incarnation] = -inf
            if unit in self._ended:  # after all
                self._ended.discard(unit)
                self._stopped.pop(unit, None)
                self._cut_off.discard(unit)
            self._weigh(unit)

    def advance(self, unit: str, incarnation: int, watermark_ns: int) -> None:
        """Everything that the incarnation emitted up to `watermark_ns` is known."""
        live = self._live[unit]
        if live.get(incarnation, inf) < watermark_ns:
            live[incarnation] = watermark_ns
            if len(live) == 1:
                self.marks[unit] = min(watermark_ns, self._bounds.get(unit, inf))
            else:
                self._weigh(unit)

    def final(self, unit: str, incarnation: int) -> None:
        """The incarnation will say nothing more."""
        self.join(unit, incarnation)
        self._final[unit].add(incarnation)
        self._live[unit].pop(incarnation, None)
        self._weigh(unit)

    def end(self, unit: str, stopped_ns: int | None = None, *, cut_off: bool = False) -> list[int]:
        """No incarnation of the unit will say anything more. It was stopped at `stopped_ns`, so what was due later
        might have come; `cut_off`: because the run was interrupted, so what was not due at all might have, too.

        Returns the incarnations that have not said their last word, although their supervisor publishes it for them;
        none in a run in which no supervisor lists journals, where that is not known."""
        if stopped_ns is not None:
            self._stopped[unit] = stopped_ns
        if cut_off:
            self._cut_off.add(unit)
        live = self._live.setdefault(unit, {})
        owing = sorted(live) if unit in self._bounds else []
        live.clear()
        self._final.setdefault(unit, set())
        self._ended.add(unit)
        self._weigh(unit)
        return owing

    def silent(self, unit: str, until_ns: float) -> list[int]:
        """Incarnations of the unit that are not final and whose mark is below `until_ns`; none if nothing is listed."""
        live = self._live.get(unit, {}) if self._listed else {}
        return sorted(incarnation for incarnation, mark in live.items() if mark < until_ns)

    def place(self, unit: str, supervisors: Iterable[str]) -> None:
        """The unit may have processes on the hosts of these."""
        known = self._supervisors.setdefault(unit, set())
        if not known.issuperset(supervisors):
            known.update(supervisors)
            self._bind(unit)

    def listed(self, supervisor: str, at_ns: float) -> None:
        """Every process has joined that emitted anything up to `at_ns` on the host of this supervisor."""
        if self._listed.get(supervisor, -inf) < at_ns:
            self._listed[supervisor] = at_ns
            for unit, supervisors in self._supervisors.items():
                if supervisor in supervisors:
                    self._bind(unit)

    def behind(self, units: Iterable[str], until_ns: float) -> set[str]:
        """Those of `units`, and of supervisors, that have to say more before the marks can pass `until_ns`."""
        found = set()
        for unit in units:
            if self.marks.get(unit, -inf) >= until_ns:
                continue
            lowest = min(self._live.get(unit, {}).values(), default=-inf)
            if lowest < until_ns:
                found.add(unit)
            for supervisor in self._supervisors.get(unit, ()):
                # a process that is listed and silent may be dead: its supervisor publishes it when it sees that
                if self._listed.get(supervisor, inf) < until_ns or (lowest == -inf and supervisor in self._listed):
                    found.add(supervisor)
        return found

    def ended(self, unit: str) -> bool:
        return unit in self._ended

    def low(self, units: Iterable[str]) -> float:
        """Up to this stamp everything is known that any of `units` emitted; -inf if there are none."""
        return min((self.marks.get(unit, -inf) for unit in units), default=-inf)

    def horizon(self, units: Collection[str], margin_ns: int = 0) -> Horizon:
        """How far it is decided what `units` have not emitted, where clocks may be off by `margin_ns`."""
        stopped = min((self._stopped.get(unit, inf) for unit in units), default=inf) if self._stopped else inf
        cut_short = not self._cut_off.isdisjoint(units)
        return Horizon(min(self.low(units), stopped) - margin_ns, self.over(units), cut_short)

    def over(self, units: Collection[str]) -> bool:
        """Whether all of `units` have ended and none was cut off; False if there are none."""
        return bool(units) and all(unit in self._ended and unit not in self._cut_off for unit in units)

    def _weigh(self, unit: str) -> None:
        live = self._live[unit]
        if live:
            self.marks[unit] = min(*live.values(), self._bounds.get(unit, inf))
        else:
            self.marks[unit] = inf if unit in self._ended else -inf

    def _bind(self, unit: str) -> None:
        """A listing counts for the unit that did not before."""
        listed = [self._listed[one] for one in self._supervisors[unit] if one in self._listed]
        if listed:
            self._bounds[unit] = min(listed)
            if unit in self._live:
                self._weigh(unit)
