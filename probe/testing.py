"""Unit tests of code that has probes, without a broker.

with probe.testing.capture() as events:
    place_order()
assert events.steps() == ["order-sent", "order-confirmed"]
assert events.find("order-sent", key="17").data["items"] == 3
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from probe import units
from probe.clock import monotonic_ns
from probe.event import Event, Kind
from probe.recorder import Collector

_open: list[Collector] = []
"""Of every `capture` that has not ended, in the order in which they began."""


class Captured(list[Event]):
    """The events of every unit of this process, in the order in which they were emitted."""

    def steps(self, unit: str | None = None) -> list[str]:
        """The steps that fired, of all units or of one."""
        return [event.step for event in self if unit is None or event.unit == unit]

    def all(self, step: str, key: str | None = None) -> list[Event]:
        """Every event of this step, and with this key if one is given."""
        return [event for event in self if event.step == step and (key is None or event.key == key)]

    def find(self, step: str, key: str | None = None) -> Event:
        """The first event of this step (and key). Raises AssertionError, naming what fired instead."""
        for event in self.all(step, key):
            return event
        keyed = f" with key {key!r}" if key is not None else ""
        fired = ", ".join(f"{event.step!r} ({event.key!r})" for event in self) or "nothing"
        raise AssertionError(f"{step!r}{keyed} did not fire; what fired: {fired}")


@contextmanager
def capture() -> Iterator[Captured]:
    """Collects what every unit emits, in every thread, whether probes are on or off; nothing of it goes anywhere else.

    Inside, `barrier` and `wait` return at once. Of several that are open, in one thread or in many, the one that began
    last gets the events, whichever ends first.
    """
    events = Captured()

    def collect(unit: str, kind: int, step: str, key: str | None, data: dict[str, Any]) -> None:
        events.append(Event(unit, 1, len(events) + 1, monotonic_ns(), step, Kind(kind), key, data))

    _open.append(collect)
    _divert_to_newest()
    try:
        yield events
    finally:
        _open.remove(collect)
        _divert_to_newest()


def _divert_to_newest() -> None:
    """Without a lock, which a fork could leave held: whoever diverts last sees that it is still right."""
    while True:
        newest = _open[-1] if _open else None
        units.divert(newest)
        if newest is (_open[-1] if _open else None):
            return
