"""Recorded events as lines: the story of a key.

Belongs here: how an event is told on a line. Must not know where events come from.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from rich.cells import cell_len

from probe.event import Event, Kind
from runner.duration import duration
from runner.view.quantity import plural
from runner.view.text import DIM, STRONG, Line, Span, clean, fit, unit_tone

_WIDEST_NAME: Final = 30
_MOST_DATA: Final = 500
"""Characters of an event's data that are shown."""


def story(events: Iterable[Event]) -> list[Line]:
    """One line an event: time since the first, time since the one before, unit, step, kind, key and data."""
    told = sorted(events, key=lambda event: event.stamp_ns)
    if not told:
        return [(Span("no such events", DIM),)]
    units = min(max(cell_len(clean(event.unit)) for event in told), _WIDEST_NAME)
    steps = min(max(cell_len(clean(event.step)) for event in told), _WIDEST_NAME)
    gaps = [0, *(after.stamp_ns - before.stamp_ns for before, after in pairwise(told))]
    lines: list[Line] = []
    for event, gap in zip(told, gaps, strict=True):
        since = duration(event.stamp_ns - told[0].stamp_ns)
        lines.append(
            (
                Span(f"{since:>8}  "),
                Span(f"{'+' + duration(gap) if lines else '':>8}  ", DIM),
                Span(fit(clean(event.unit), units) + "  ", unit_tone(event.unit)),
                Span(fit(clean(event.step), steps), STRONG),
                Span(_rest(event), DIM),
            )
        )
    lines.append((Span(f"{plural(len(told), 'event')} in {duration(told[-1].stamp_ns - told[0].stamp_ns)}", DIM),))
    return lines


def _rest(event: Event) -> str:
    kind = "" if event.kind is Kind.DEFAULT else f"  {event.kind.name.lower()}"
    key = "" if event.key is None else f"  key {clean(event.key)}"
    data = ", ".join(f"{name}={value!r}" for name, value in event.data.items())[:_MOST_DATA]
    return f"{kind}{key}" + (f"  {clean(data)}" if data else "")
