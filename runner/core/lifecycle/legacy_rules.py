"""Rules about units that only the legacy folder shape has.

Belongs here: pure rules that `lifecycle` asks when a scenario has a `Legacy`. Must not know processes or clocks.
"""

from typing import Final

from runner.model.scenario.model import SETUP_UNIT, Legacy, Unit

HEAD_START_NS: Final = 200_000_000
"""How long `main()` of `setup.py` works before it counts as ready: it has no ready probe and may run for ever."""


def head_start_ns(legacy: Legacy | None, unit: Unit) -> int:
    """How long after its import `unit` counts as ready, unless it returns sooner. 0: as soon as it is imported."""
    return HEAD_START_NS if legacy is not None and unit.name == SETUP_UNIT and unit.ready is None else 0


class Linger:
    """The end of a legacy group: when every required probe has fired, units may go on for a little while."""

    def __init__(self, legacy: Legacy) -> None:
        self._linger_ns = legacy.linger_ns
        self._end_ns: int | None = None

    @property
    def end_ns(self) -> int | None:
        """When units that still run are stopped; None: a required probe is missing."""
        return self._end_ns

    def over(self, complete: bool, now_ns: int) -> bool:
        """Whether units that still run are to be stopped; `complete`: every required probe has fired."""
        if not complete:
            self._end_ns = None  # a unit was started again and has to fire its ready probe again
        elif self._end_ns is None:
            self._end_ns = now_ns + self._linger_ns
        return self._end_ns is not None and now_ns >= self._end_ns
