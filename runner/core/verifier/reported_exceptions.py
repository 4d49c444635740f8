"""Exceptions that units reported, and which of them are forgiven.

Belongs here: which incarnation reported them. The words are in `explain`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.verifier.circuit_tally import FaultLog
from runner.core.verifier.judge import EventRef, Fault
from runner.model.result.in_words import exception_in_words
from runner.model.result.result import FindingClass


class ReportedExceptions:
    """The exceptions in `fault_log`, by the incarnation that reported them."""

    def __init__(self, fault_log: FaultLog) -> None:
        self._fault_log = fault_log
        self._by_life: dict[tuple[str, int], list[Fault]] = {}
        """(unit, incarnation) -> what it reported."""

    def add(self, incarnation: int, event: EventRef, step: str, key: str | None, data: Mapping[str, Any]) -> None:
        """The exception event at `event`, with its `data`."""
        note = exception_in_words(data)
        fault = Fault(FindingClass.EXCEPTION, None, key, event=event, unit=event.unit, step=step, note=note)
        if self._fault_log.add(fault):
            self._by_life.setdefault((event.unit, incarnation), []).append(fault)

    def forgive(self, lives: Iterable[tuple[str, int]]) -> None:
        """What these (unit, incarnation) reported is no finding."""
        for life in lives:
            for fault in self._by_life.pop(life, ()):
                self._fault_log.remove(fault)
