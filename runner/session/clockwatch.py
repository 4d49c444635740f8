"""The clocks of a run that another process drives or that is over, as its log has them: `circuit-run clocks`, `show`.

Belongs here: reading a log for what says something about clocks. Judges nothing and sends no orders.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from broker import log
from broker.log import Entry
from probe.clock_pings import CLOCK
from probe.errors import WireError
from probe.event import Event, Kind
from probe.message import Begin, Command, Events, Final, Hello
from probe.sift import sound
from probe.wire import Record, decode_order
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.history import log_file
from runner.adapters.signals import Signals
from runner.adapters.terminal.clocks import ClockRow
from runner.core.clocks import Timeline
from runner.core.clocks.estimate import Estimate
from runner.model.orders import SUPERVISOR, host_of
from runner.session.attach import WatchedRun, reader_of, see_whether_gone
from runner.session.dispatcher import BATCH

FRAME_MS = 500
"""How often the view is taken."""


def clocks(target: WatchedRun, show: Callable[[Sequence[ClockRow], str], None], *, once: bool) -> None:
    """Show the clocks of the run until it is over or a person ends it; with `once`, as soon as all that is in
    the log was read. Raises BrokerFailed if the broker is not there."""
    with Signals() as signals, contextlib.closing(reader_of(target)) as reader:
        timeline = Timeline(reader.host)
        over = False
        while not over:
            if not reader.connected:
                if target.over:
                    break
                see_whether_gone(reader, target)
            reader.ask()
            over = _read(reader, timeline)
            if once and not reader.behind and reader.offset > log.START:
                break
            if not once:
                show(_rows(timeline, reader.now_ns()), _reference(reader, timeline))
            reader.wait([signals.fileno()], FRAME_MS)
            if signals.taken():
                return
        show(_rows(timeline, reader.now_ns()), _reference(reader, timeline))


def timeline_of(path: Path) -> Timeline:
    """The clocks of a recorded run. Raises RecordingError when its log cannot be read."""
    timeline = Timeline()
    for entry in log_file.entries(path):
        _take(entry, timeline)
    timeline.close()
    return timeline


def on_the_timeline(events: Iterable[Event], timeline: Timeline) -> list[Event]:
    """`events` with their stamps on the timeline."""
    return [replace(e, stamp_ns=timeline.to_common(e.unit, e.incarnation, e.stamp_ns)) for e in events]


def _read(reader: LogReader, timeline: Timeline) -> bool:
    """What has come; whether the run is over by that."""
    over = False
    while entries := reader.receive(BATCH):
        for entry in entries:
            _take(entry, timeline)
            over |= isinstance(entry.message, Final) and entry.unit == SUPERVISOR
    return over


def _take(entry: Entry, timeline: Timeline) -> None:
    match entry.message:
        case Hello(host=boot):
            timeline.join(entry.unit, entry.incarnation, boot)
        case Final():
            timeline.final(entry.unit, entry.incarnation)
        case Command() if not timeline.reference:
            with contextlib.suppress(WireError):
                order = decode_order(entry.body)
                timeline.reference = order.host if isinstance(order, Begin) else ""
        case Events(first, count) if CLOCK.encode() in entry.body or not timeline.one_clock:
            for record in sound(entry.body, first, count):
                _hear(entry, record, timeline)


def _hear(entry: Entry, record: Record, timeline: Timeline) -> None:
    _, stamp_ns, step, kind, key, data = record
    if kind == Kind.STATE and step == CLOCK:
        timeline.report(entry.unit, entry.incarnation, stamp_ns, data)
    else:
        timeline.hint(entry.unit, entry.incarnation, kind, key, stamp_ns)


def _rows(timeline: Timeline, now_ns: int) -> list[ClockRow]:
    return [_row(estimate) for estimate in timeline.estimates(now_ns)]


def _row(estimate: Estimate) -> ClockRow:
    supervisors = [unit for unit in estimate.units if host_of(unit)]
    units = [unit for unit in estimate.units if not unit.startswith("@")]
    return ClockRow(
        host=str(host_of(supervisors[0])) if supervisors else f"of {units[0] if units else 'no unit'}",
        offset_ns=estimate.offset_ns,
        error_ns=estimate.error_ns,
        drift_ppm=estimate.drift_ppm,
        drift_error_ppm=estimate.drift_error_ppm,
        rtt_ns=estimate.rtt_ns,
        age_ns=estimate.age_ns,
        reporter="its supervisor" if supervisors else ", ".join(units[:2]),
        jumps=estimate.jumps,
    )


def _reference(reader: LogReader, timeline: Timeline) -> str:
    there = [unit for unit in timeline.units_of(reader.host) if not unit.startswith("@")]
    return f"the broker's host, which is that of {', '.join(there[:3])}" if there else "the broker's host"
