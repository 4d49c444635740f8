"""How far the evidence of every unit is complete.

Belongs here: incarnations, their watermarks and endings. Must not know circuits.

A unit's mark is the smallest watermark of its incarnations that are not final. A unit that has not ended and has no
such incarnation (not joined yet, or between two lives) has none, which holds decisions back; a unit that has ended is
complete for ever.
"""

from collections.abc import Iterable
from math import inf


class Watermarks:
    """The marks of all units. `declared` are known from the beginning, the others once they say something."""

    def __init__(self, declared: Iterable[str]) -> None:
        self.marks: dict[str, float] = dict.fromkeys(declared, -inf)
        """Unit -> everything it emitted up to this stamp is known."""
        self._live: dict[str, dict[int, float]] = {unit: {} for unit in self.marks}
        self._final: dict[str, set[int]] = {unit: set() for unit in self.marks}
        self._ended: set[str] = set()

    def join(self, unit: str, incarnation: int) -> None:
        """An incarnation begins (or says so again)."""
        live = self._live.setdefault(unit, {})
        if incarnation not in live and incarnation not in self._final.setdefault(unit, set()):
            live[incarnation] = -inf
            self._ended.discard(unit)
            self._weigh(unit)

    def advance(self, unit: str, incarnation: int, watermark_ns: int) -> None:
        """Everything that the incarnation emitted up to `watermark_ns` is known."""
        live = self._live[unit]
        if live.get(incarnation, inf) < watermark_ns:
            live[incarnation] = watermark_ns
            if len(live) == 1:
                self.marks[unit] = watermark_ns
            else:
                self._weigh(unit)

    def final(self, unit: str, incarnation: int) -> None:
        """The incarnation will say nothing more."""
        self.join(unit, incarnation)
        self._final[unit].add(incarnation)
        self._live[unit].pop(incarnation, None)
        self._weigh(unit)

    def end(self, unit: str) -> None:
        """No incarnation of the unit will say anything more."""
        self._live.setdefault(unit, {}).clear()
        self._final.setdefault(unit, set())
        self._ended.add(unit)
        self._weigh(unit)

    def ended(self, unit: str) -> bool:
        return unit in self._ended

    def low(self, units: Iterable[str]) -> float:
        """Up to this stamp everything is known that any of `units` emitted; nobody: nothing is."""
        return min((self.marks.get(unit, -inf) for unit in units), default=-inf)

    def _weigh(self, unit: str) -> None:
        live = self._live[unit]
        if live:
            self.marks[unit] = min(live.values())
        else:
            self.marks[unit] = inf if unit in self._ended else -inf
