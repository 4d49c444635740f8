"""What is known beside a fault when it is put into words.

Belongs here: what a run has shown, and look-ups in it that many explanations share. Must not know sentences (those are
in `explain`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from runner.core.verifier.circuit_tally import is_inconclusive
from runner.core.verifier.closed_keys import Recent
from runner.core.verifier.judge import Fault
from runner.core.verifier.losses import Losses
from runner.core.verifier.pattern import Plan
from runner.core.verifier.timepieces import Timepieces
from runner.model.result.clocks import ONE_CLOCK, Clocks
from runner.model.result.result import FindingClass
from runner.model.result.unit_status import UnitStatus

COMPARED: Final = 2_000
"""Keys that are looked at for one near miss."""


@dataclass
class Context:
    """What an explanation may draw on."""

    plans: Mapping[str, Plan]
    all_units: Mapping[str, Collection[str]]
    """Circuit -> units that take part."""
    fired: Mapping[str, Collection[str]]
    """Unit -> steps that it fired."""
    named: Collection[str]
    """Steps that the scenario names anywhere."""
    strays: Recent[tuple[str, str]]
    """Key -> (unit, step) of the latest event that no circuit asks for."""
    losses: Losses
    statuses: Mapping[str, UnitStatus]
    faults: Iterable[Fault]
    clocks: Clocks = ONE_CLOCK
    began_ns: int | None = None
    """The stamp of the first event of the run."""
    sends: Collection[tuple[str, str]] = ()
    """(unit, step) of probes that say that something was sent."""
    receives: Collection[tuple[str, str]] = ()
    """The same of what was received."""
    timepieces: Timepieces = field(default_factory=Timepieces)

    @cached_property
    def still(self) -> Mapping[tuple[str, int], int]:
        """As `Timepieces.still`."""
        return self.timepieces.still()

    @cached_property
    def odd_keys(self) -> dict[tuple[str | None, int | None], list[Fault]]:
        """(circuit, slot) -> faults whose key turned up there and should not have, or too often."""
        odd: dict[tuple[str | None, int | None], list[Fault]] = {}
        for fault in self.faults:
            if fault.key is not None and fault.cls in (FindingClass.ORPHAN, FindingClass.DUPLICATE):
                faults = odd.setdefault((fault.circuit, fault.slot), [])
                if len(faults) < COMPARED:
                    faults.append(fault)
        return odd

    @cached_property
    def unfinished(self) -> dict[tuple[str | None, int | None], list[str]]:
        """(circuit, slot) -> keys with which an event there is lacking."""
        lacking: dict[tuple[str | None, int | None], list[str]] = {}
        for fault in self.faults:
            key = key_at(fault)
            if key is not None and fault.cls is FindingClass.MISSING:
                keys = lacking.setdefault((fault.circuit, fault.slot), [])
                if len(keys) < COMPARED:
                    keys.append(key)
        return lacking

    @cached_property
    def affected(self) -> frozenset[str]:
        """See `Losses.affected`."""
        return frozenset(self.losses.affected)

    @cached_property
    def misled(self) -> frozenset[str]:
        """See `Losses.misled`."""
        return self.losses.misled

    def lost_for(self, fault: Fault) -> bool:
        """Whether a unit that matters to the finding lost evidence."""
        if fault.circuit is not None:
            return not self.affected.isdisjoint(self.all_units[fault.circuit])
        return bool(self.affected) if fault.key is not None else fault.unit in self.affected

    def is_inconclusive(self, fault: Fault) -> bool:
        """Whether the finding might go away, had we seen everything and exactly."""
        misled = fault.cls is FindingClass.EXCEPTION and fault.unit in self.misled
        return misled or is_inconclusive(fault, lost_evidence=self.lost_for(fault))


def key_at(fault: Fault) -> str | None:
    """The key with which its probe fired or should have."""
    return fault.under if fault.under is not None else fault.key
