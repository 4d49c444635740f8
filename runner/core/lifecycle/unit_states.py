"""All units of one run, and what can be asked of them together.

Belongs here: the table of units and questions about the whole of it, which change nothing. Must not know what an event
means or which order follows: that is the business of `lifecycle`.
"""

from collections.abc import Iterator

from runner.core.lifecycle.legacy_rules import head_start_ns
from runner.core.lifecycle.unit_state import UnitState
from runner.model.result.result import Finding
from runner.model.result.unit_status import State, UnitStatus
from runner.model.scenario.model import LOCAL, Scenario


class UnitStates:
    """Every unit of the scenario by its name, in the scenario's order."""

    def __init__(self, scenario: Scenario) -> None:
        legacy = scenario.legacy
        self._legacy = legacy is not None
        needed = {name for unit in scenario.units for name in unit.after}
        self._by_name: dict[str, UnitState] = {}
        for spec in scenario.units:
            unit = self._by_name[spec.name] = UnitState(
                spec,
                service=spec.service if spec.service is not None else legacy is None and spec.name in needed,
                head_start_ns=head_start_ns(legacy, spec),
                missing={*spec.expect, *([spec.ready] if spec.ready is not None else [])},
            )
            if legacy is not None and unit.external:  # test functions emit for it, no process joins as it
                unit.up = unit.service = True
                unit.state = State.READY

    def __iter__(self) -> Iterator[UnitState]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> UnitState:
        return self._by_name[name]

    def get(self, name: str | None) -> UnitState | None:
        """The unit of this name; None: the scenario has none."""
        return None if name is None else self._by_name.get(name)

    def on(self, host: str) -> list[UnitState]:
        """The units that the run starts on this host."""
        return [unit for unit in self if unit.spec.host == host and not unit.external]

    def unready_needs(self, unit: UnitState) -> list[str]:
        """The units of its `after` that do not support it yet."""
        return [name for name in unit.spec.after if not self._by_name[name].supports]

    # --- how far the run is -------------------------------------------------------------------------------------------

    @property
    def all_up(self) -> bool:
        """Every unit has been ready, or has ended."""
        return all(unit.up or unit.state.ended for unit in self)

    @property
    def idle(self) -> bool:
        """Every unit but the services has ended, and all services are up: time to settle."""
        return self.all_up and all((unit.state.ended and unit.away is None) or unit.service for unit in self)

    @property
    def over(self) -> bool:
        """Every unit has ended and no process of the run is left."""
        return not any(unit.is_left for unit in self)

    @property
    def local_is_left(self) -> bool:
        """Whether a unit of this host has not ended, or a process of one is left."""
        return any(unit.is_left for unit in self if unit.spec.host == LOCAL)

    @property
    def waits_for(self) -> str:
        """What keeps the run from being over: "the end of api, worker"; "" when it is."""
        left = [unit.name for unit in self if unit.is_left]
        return f"the end of {', '.join(left)}" if left else ""

    # --- whose events matter ------------------------------------------------------------------------------------------

    @property
    def wants(self) -> frozenset[str]:
        """Units whose own events still matter to their state; those of all others need not be handed in."""
        return frozenset(
            unit.name
            for unit in self
            if not unit.state.ended and (not unit.up or (unit.missing and (self._legacy or unit.external)))
        )

    @property
    def gone(self) -> frozenset[str]:
        """Units that have ended and emitted their last event. One that only fell silent, or was lost with its host, is
        none of them."""
        return frozenset(unit.name for unit in self if not unit.is_left and not unit.owes_final and not unit.lost)

    @property
    def let_go(self) -> dict[str, int]:
        """Units that the run neither started nor waits for any more, and that owe a FINAL -> since when it does not."""
        return {
            unit.name: unit.ended_ns
            for unit in self
            if unit.owes_final and unit.state is State.STOPPED and unit.ended_ns is not None
        }

    # --- as values ----------------------------------------------------------------------------------------------------

    def statuses(self) -> tuple[UnitStatus, ...]:
        """Every unit. How often its probes fired is not known here."""
        return tuple(unit.status(self._keeps_waiting(unit)) for unit in self)

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with units."""
        return tuple(finding for unit in self for finding in unit.explained())

    def _keeps_waiting(self, unit: UnitState) -> str:
        missing = self.unready_needs(unit) if unit.state is State.CREATED else []
        return f"waits for {', '.join(missing)}" if missing else ""
