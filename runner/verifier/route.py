"""Where the events of one step of one unit go, worked out once.

Belongs here: routes as values. Must not know who follows them.
"""

from collections.abc import Sequence
from typing import TypeAlias

from runner.scenario.model import Probe
from runner.verifier.journeys import Journeys
from runner.verifier.pattern import Slot
from runner.verifier.rigid import Rigid, Row
from runner.verifier.score import Score

Gatherer: TypeAlias = Rigid | Journeys


class Route:
    """Where the events of one step of one unit go. `rows` is not None in the plain case: one slot of one rigid circuit,
    without `where`; the loop in `Verifier.batch` then needs nothing but what stands beside it here."""

    __slots__ = ("begins", "nevers", "rigid", "rows", "sites", "slot", "stamp_at", "targets", "unit_at")

    def __init__(self, targets: Sequence[tuple[Gatherer, Slot]], nevers: Sequence[tuple[Score, Probe]]) -> None:
        self.targets = targets
        self.nevers = nevers
        self.sites: dict[int, int] = {}
        self.rows: dict[str | None, Row] | None = None
        self.slot = self.stamp_at = self.unit_at = 0
        self.begins = False
        self.rigid: Rigid  # only where `rows` is
        if len(targets) == 1 and not nevers:
            ((gatherer, slot),) = targets
            if isinstance(gatherer, Rigid) and not slot.where:
                self.rigid, self.rows, self.slot = gatherer, gatherer.rows, slot.index
                self.stamp_at, self.unit_at = gatherer.places_of(slot.index)
                self.begins = slot.place == 0
