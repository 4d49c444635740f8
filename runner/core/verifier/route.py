"""Where the events of one step of one unit go, worked out once.

Belongs here: routes as values. Must not know who follows them.
"""

from collections.abc import Sequence
from typing import TypeAlias

from runner.core.verifier.circuit_tally import CircuitTally
from runner.core.verifier.fixed_tracker import FixedTracker, Row
from runner.core.verifier.flexible_tracker import FlexibleTracker
from runner.core.verifier.pattern import Slot
from runner.model.scenario.model import Probe

Tracker: TypeAlias = FixedTracker | FlexibleTracker


class Route:
    """Where the events of one step of one unit go. `rows` is not None in the plain case: one slot of one rigid circuit,
    without `where`; the loop in `Verifier.batch` then needs nothing but what stands beside it here."""

    __slots__ = ("begins", "nevers", "rigid", "rows", "sites", "slot", "stamp_at", "targets", "unit_at")

    def __init__(self, targets: Sequence[tuple[Tracker, Slot]], nevers: Sequence[tuple[CircuitTally, Probe]]) -> None:
        self.targets = targets
        self.nevers = nevers
        self.sites: dict[int, int] = {}
        self.rows: dict[str | None, Row] | None = None
        self.slot = self.stamp_at = self.unit_at = 0
        self.begins = False
        self.rigid: FixedTracker  # only where `rows` is
        if len(targets) == 1 and not nevers:
            ((gatherer, slot),) = targets
            if isinstance(gatherer, FixedTracker) and not slot.where:
                self.rigid, self.rows, self.slot = gatherer, gatherer.rows, slot.index
                self.stamp_at, self.unit_at = gatherer.places_of(slot.index)
                self.begins = slot.place == 0
