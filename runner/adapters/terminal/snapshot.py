"""What the live view shows, as one value.

Belongs here: the view's content, without any layout. `session` fills it ten times a second, `rows` turns it into
lines, `screen` puts them on the terminal.
"""

from dataclasses import dataclass, field

from runner.model.result.result import CircuitResult, Finding
from runner.model.result.unit_status import UnitStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of one run. `now_ns` is the moment on the clock of the stamps in `units`."""

    scenario: str
    phase: str
    """setup, starting, running, settling, stopping, testing, checking, done."""
    elapsed_s: float
    now_ns: int
    units: tuple[UnitStatus, ...]
    circuits: tuple[CircuitResult, ...]
    expected: dict[str, int]
    """Circuit -> how many instances the scenario asks for, where it does."""
    budgets: dict[str, str]
    """Circuit -> how its budget stands, in words: "p99 ≤ 20 ms ok"."""
    findings: tuple[Finding, ...]
    """The most telling ones so far, at most 50."""
    finding_count: int
    events: int
    events_per_s: float
    lost: int
    """How many events are known to be lost."""
    more_lost: bool = False
    """Others may be lost; how many is not known."""
    over_budget: frozenset[str] = frozenset()
    """Circuits whose budget is broken as things stand."""
    incidents: tuple[tuple[str, int], ...] = ()
    """What the broker has refused, "who: what", and how often; the most frequent first."""
    away: tuple[str, ...] = ()
    """Hosts that are not there at the moment, each with the reason and whom it had: "lab-1 has not been heard ..."."""
    connected: bool = True
    """Whether there is a connection to the broker."""
    silent_s: float = 0.0
    """How long the broker has not said anything; a second or so is nothing special."""
    clock_errors: dict[str, int] = field(default_factory=dict)
    """Host -> how far its stamps may be off, in nanoseconds, where it is not the runner's own."""
