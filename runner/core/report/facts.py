"""What a result says beside its findings, one text a fact: times, pairs, barriers, hosts, evidence, incidents.

Belongs here: the words of each fact. Must not know where it is shown or which of them are shown (`summary`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from runner.core.report.quantity import plural
from runner.core.report.reason import lost_records
from runner.core.report.text import ALERT, PLAIN, clean
from runner.core.report.words import losses, quantiles
from runner.model.duration import span
from runner.model.result.interval import at_most, interval
from runner.model.result.result import UNKNOWN, BarrierResult, FindingClass, HostResult, Latency, Pairs, Result

_RANGES: Final = 3
_INCIDENTS: Final = 5
"""So many incidents are shown."""


def about_times(latency: Latency) -> str:
    """The quantiles, each with its error."""
    if not latency.count:
        return f"{latency.unknown:,} not known: its clocks do not relate" if latency.unknown else "nothing measured"
    width = 1 + max(len(time.error) for _, time in quantiles(latency)) if latency.low else 0
    times = (f"{name} {time.value:>7}{time.error and f' {time.error}':<{width}}" for name, time in quantiles(latency))
    unknown = f"   {latency.unknown:,} not known" if latency.unknown else ""
    return "   ".join(times).rstrip() + unknown


def about_pairs(pairs: Pairs, *, times: bool) -> list[str]:
    """Only if there are any; with their latency where no circuit shows it, which takes a line of its own."""
    if pairs == Pairs():
        return []
    paired = f"{pairs.paired:,} paired"
    timed = [f"{paired}   {about_times(pairs.latency)}"] if times and pairs.latency.count else []
    parts = [] if timed else [paired]
    for keys, what in (
        (pairs.orphan_sends, "sent and never received"),
        (pairs.orphan_receives, "received and never sent"),
        (pairs.duplicate_keys, "more than once"),
    ):
        if keys:
            named = ", ".join(clean(key) for key in keys[:_RANGES])
            parts.append(f"{len(keys):,} {what} ({named}{', …' if len(keys) > _RANGES else ''})")
    return [*timed, ", ".join(parts)] if parts else timed


def about_barrier(barrier: BarrierResult) -> tuple[str, str]:
    """What was released how often, and how closely together its parties went on."""
    skews = (("p50", barrier.skew_p50_ns), ("p99", barrier.skew_p99_ns), ("max", barrier.skew_max_ns))
    times = [f"{name} {interval(ns, barrier.error_ns)}" for name, ns in skews]
    skew = "  ".join(times) if barrier.rounds > 1 else interval(barrier.skew_max_ns, barrier.error_ns)
    return f"{clean(barrier.name)}, {plural(barrier.rounds, 'release')}", f"skew {skew}"


def about_host(host: HostResult) -> str:
    """Its name, how well its clock is known, and what became of it if it was not there all the time."""
    known = host.clock_error_ns < UNKNOWN
    became = (
        host.state if host.state in ("away", "gone") else "",
        f"away {span(host.away_s * 1e9)}" if host.away_s else "",
        "" if known else "clock not known",
    )
    notes = ", ".join(part for part in became if part)
    error = f" ±{at_most(host.clock_error_ns)}" if known and host.clock_error_ns else ""
    return clean(host.name) + error + (f" ({notes})" if notes else "")


def about_evidence(result: Result) -> Iterable[tuple[str, str]]:
    """What the verdict is based on, and what was lost; with the tone of each."""
    evidence, lost = result.evidence, lost_records(result.evidence)
    text = f"{plural(evidence.received, 'event')} from {plural(len(result.units), 'unit')}"
    if evidence.recovered:
        text += f", {evidence.recovered:,} recovered from journals"
    if evidence.duplicates_dropped:
        text += f", {evidence.duplicates_dropped:,} received twice"
    if not lost and not evidence.unknown:
        missing = [f for f in result.findings if f.cls is FindingClass.MISSING and not f.inconclusive]
        watched = all(unit.exit_code is not None for unit in result.units)  # the end of every unit
        never = ""
        if missing and watched:
            never = f": the {'event was' if len(missing) == 1 else 'events were'} never emitted"
        yield f"{text}, none lost{never}", PLAIN
        return
    yield f"{text}, {losses(lost, more=bool(evidence.unknown))}", ALERT
    for gap in evidence.lost[:_RANGES]:
        numbers = f"number {gap.first:,}" if gap.first == gap.last else f"numbers {gap.first:,} to {gap.last:,}"
        yield f"lost: {clean(gap.unit)}, {numbers} ({clean(gap.why)})", ALERT
    if len(evidence.lost) > _RANGES:
        yield f"lost: {plural(len(evidence.lost) - _RANGES, 'range')} more", ALERT


def about_incidents(incidents: Mapping[str, int]) -> Iterable[str]:
    """What the broker has not let peers do, and how often."""
    listed = list(incidents.items())
    for what, number in listed[:_INCIDENTS]:
        yield clean(what) + (f" ×{number:,}" if number > 1 else "")
    if rest := listed[_INCIDENTS:]:
        times = plural(sum(number for _, number in rest), "time")
        yield f"and {len(rest):,} more, {times}: result.json has them"
