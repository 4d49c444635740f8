"""Recorded events as lines: the story of a key.

Belongs here: how an event is shown on a line. Must not know where events come from.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from rich.cells import cell_len

from probe.event import Event, Kind
from runner.core.report.quantity import plural
from runner.core.report.text import DIM, STRONG, Line, Span, clean, fit, unit_tone
from runner.model.result.clocks import ONE_CLOCK, Clocks
from runner.model.result.in_words import key_in_words
from runner.model.result.interval import Interval, interval

_WIDEST_NAME: Final = 30
_MOST_DATA: Final = 500
"""Characters of an event's data that are shown."""


def story(events: Iterable[Event], clocks: Clocks = ONE_CLOCK) -> list[Line]:
    """One line an event: time since the first, time since the one before, unit, step, kind, key and data. The stamps
    are on one timeline, as exactly as `clocks` says."""
    ordered = sorted(events, key=lambda event: event.stamp_ns)
    if not ordered:
        return [(Span("no such events", DIM),)]
    units = min(max(cell_len(clean(event.unit)) for event in ordered), _WIDEST_NAME)
    steps = min(max(cell_len(clean(event.step)) for event in ordered), _WIDEST_NAME)
    since = [_time(ordered[0], event, clocks) for event in ordered]
    gaps = [Interval(""), *(_time(before, after, clocks) for before, after in pairwise(ordered))]
    room = max(len(time.error) for time in (*since, *gaps))
    room += 1 if room else 0
    lines: list[Line] = []
    for event, start, gap in zip(ordered, since, gaps, strict=True):
        sign = "+" if gap.value[:1].isdigit() else ""
        lines.append(
            (
                Span(f"{start.value:>8}{f' {start.error}'[:room]:<{room}}  "),
                Span(f"{sign + gap.value:>8}{f' {gap.error}'[:room]:<{room}}  ", DIM),
                Span(fit(clean(event.unit), units) + "  ", unit_tone(event.unit)),
                Span(fit(clean(event.step), steps), STRONG),
                Span(_rest(event), DIM),
            )
        )
    took = f" in {since[-1]}" if len(ordered) > 1 else ""
    lines.append((Span(f"{plural(len(ordered), 'event')}{took}", DIM),))
    return lines


def _time(one: Event, other: Event, clocks: Clocks) -> Interval:
    error_ns = clocks.error(one.unit, one.stamp_ns, other.unit, other.stamp_ns)
    return interval(other.stamp_ns - one.stamp_ns, error_ns)


def _rest(event: Event) -> str:
    kind = "" if event.kind is Kind.DEFAULT else f"  {event.kind.name.lower()}"
    key = "" if event.key is None else f"  key {clean(key_in_words(event.key))}"
    data = ", ".join(f"{name}={value!r}" for name, value in event.data.items())[:_MOST_DATA]
    return f"{kind}{key}" + (f"  {clean(data)}" if data else "")
