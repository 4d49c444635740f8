"""How far the judging of a run is: what is open, and what it waits for.

Belongs here: questions about all circuits together, which change nothing. Must not know how an instance is judged.
"""

from collections.abc import Callable, Sequence

from runner.core.verifier.route import Tracker
from runner.model.scenario.model import Scenario


class Progress:
    """The open instances of a run. `has_seen` says whether a unit has fired a probe."""

    def __init__(self, scenario: Scenario, trackers: Sequence[Tracker], has_seen: Callable[[str, str], bool]) -> None:
        self._scenario = scenario
        self._trackers = trackers
        self._has_seen = has_seen

    @property
    def next_deadline_ns(self) -> int | None:
        """The earliest stamp that watermarks must pass before something open can be judged; None: nothing waits."""
        return min((ns for tracker in self._trackers if (ns := tracker.next_ns()) is not None), default=None)

    def laggards(self, now_ns: int) -> frozenset[str]:
        """The units and supervisors that hold back a decision that is due by `now_ns`."""
        return frozenset().union(*(tracker.laggards(now_ns) for tracker in self._trackers))

    def open_instances(self, *, with_deadline: bool | None = None) -> int:
        """Instances that are not judged: all, those that wait for a stamp or deadline to be passed, or the others."""
        due = sum(tracker.due_count() for tracker in self._trackers) if with_deadline is not None else 0
        if with_deadline:
            return due
        return sum(tracker.open_count() for tracker in self._trackers) - due

    def satisfied(self) -> bool:
        """Whether the scenario has all it asks for (each circuit began as often as it should, at least once where it
        does not say; every `expect` fired) and nothing is open."""
        for tracker in self._trackers:
            asked = tracker.plan.circuit.instances
            if tracker.tally.started < (1 if asked is None else asked.at_least) or tracker.open_count():
                return False
        return all(self._has_seen(unit.name, step) for unit in self._scenario.units for step in unit.expect)
