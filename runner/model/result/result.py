"""The nouns of a judgement: verdicts, findings, latencies and the result of a run.

Belongs here: values only. Must not know how they are found (`judge`), shown (`core/report`) or kept (`history`).
All times are integers in nanoseconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

UNKNOWN: Final = 1 << 62
"""An error in nanoseconds, meaning that nothing is known of how two clocks relate: the time between is anything."""


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    INTERRUPTED = "interrupted"
    """The run was interrupted; what had been found till then stands beside it. Never of a circuit."""


class FindingClass(StrEnum):
    """Every way in which a run can be wrong; fixed by contract."""

    MISSING = "missing"
    ORPHAN = "orphan"
    DUPLICATE = "duplicate"
    ACAUSAL = "acausal"
    LATE = "late"
    UNEXPECTED = "unexpected"
    EXCEPTION = "exception"
    COUNT = "count"
    BUDGET = "budget"
    UNIT_FAILED = "unit-failed"
    NOT_READY = "not-ready"
    LOST_EVIDENCE = "lost-evidence"
    CHECK = "check"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `message` is one sentence that stands alone; `details` are the lines that explain it
    (last probe reached, next expected, what the unit is doing, near misses), most telling first."""

    cls: FindingClass
    message: str
    circuit: str | None = None
    key: str | None = None
    unit: str | None = None
    step: str | None = None
    stamp_ns: int | None = None
    details: tuple[str, ...] = field(default=(), compare=False)
    inconclusive: bool = False
    """Lost evidence or clock error could make this finding go away."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The four numbers by which a distribution is known, in nanoseconds."""

    p50_ns: int
    p90_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution. Quantiles are exact up to 4,096 values, beyond that within 0.8 %. `max_ns` is exact, unless
    the largest of so many values was taken back when its instance was judged again.

    Where the clocks of several hosts are involved each value is known within an error. A value that may be zero or
    more counts as it was measured, also if that is below zero.
    """

    count: int = 0
    p50_ns: int = 0
    p90_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0
    error_ns: int = 0
    """Largest clock error in any of the values; 0 when they are all of one clock."""
    bars: tuple[int, ...] = ()
    """Counts in a few logarithmic buckets from fast to slow, for a small picture; not part of result.json."""
    negative: int = 0
    """Values below zero beyond their error: an effect before its cause. They are in no other field."""
    unknown: int = 0
    """Values of two clocks of which nothing is known; they are in no quantile, and in `low` and `high` as what
    they may be: anything."""
    low: Quantiles | None = None
    """The quantiles if every value were as small as its error lets it be; None: every value is exact."""
    high: Quantiles | None = None
    """The same, as large; the truth is between `low` and `high`."""

    @property
    def p50_error_ns(self) -> int:
        """`p50_ns` give or take this is all between `low` and `high`; `UNKNOWN` or more: it may be anything."""
        return self._error("p50")

    @property
    def p90_error_ns(self) -> int:
        """As `p50_error_ns`."""
        return self._error("p90")

    @property
    def p99_error_ns(self) -> int:
        """As `p50_error_ns`."""
        return self._error("p99")

    @property
    def max_error_ns(self) -> int:
        """As `p50_error_ns`."""
        return self._error("max")

    def between(self, name: str) -> tuple[int, int]:
        """The least and the most that the quantile `name` ("p50", "p90", "p99", "max") may truly be, in nanoseconds."""
        field_name = f"{name}_ns"
        least, most = self.low or self, self.high or self
        return getattr(least, field_name), getattr(most, field_name)

    def _error(self, name: str) -> int:
        least, most = self.between(name)
        value: int = getattr(self, f"{name}_ns")
        return max(value - least, most - value) if least > -UNKNOWN and most < UNKNOWN else UNKNOWN


@dataclass(frozen=True, slots=True)
class Hop:
    """From one path element to the next, named as the user wrote them."""

    source: str
    target: str
    latency: Latency = Latency()


@dataclass(frozen=True, slots=True)
class InstanceCounts:
    """How the instances of one circuit stand; `started` is not the sum (an orphan never started)."""

    started: int = 0
    complete: int = 0
    failed: int = 0
    open: int = 0
    inconclusive: int = 0


@dataclass(frozen=True, slots=True)
class CircuitResult:
    name: str
    verdict: Verdict
    instances: InstanceCounts
    latency: Latency
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class UnitResult:
    """What became of one unit. `ready_s` None: it never got ready (or had no need to)."""

    name: str
    state: str
    exit_code: int | None
    host: str
    events: int
    ready_s: float | None


@dataclass(frozen=True, slots=True)
class Pairs:
    """Send and receive events matched by key over the whole run."""

    paired: int = 0
    orphan_sends: tuple[str, ...] = ()
    orphan_receives: tuple[str, ...] = ()
    duplicate_keys: tuple[str, ...] = ()
    latency: Latency = Latency()
    """From the earliest send of a key to its earliest receive."""


@dataclass(frozen=True, slots=True)
class Required:
    """The `expect` and `ready` probes of all units: (unit, step) that fired and that did not."""

    completed: tuple[tuple[str, str], ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """Records `first`..`last` of one incarnation that will never come."""

    unit: str
    incarnation: int
    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class UnknownLoss:
    """One incarnation may have emitted what will never come; how much is not known."""

    unit: str
    incarnation: int
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What units emitted and what arrived, counted without the fabric's own records."""

    emitted: int = 0
    received: int = 0
    recovered: int = 0
    duplicates_dropped: int = 0
    lost: tuple[Lost, ...] = ()
    malformed: int = 0
    """Records that were no records; ignored."""
    incidents: dict[str, int] = field(default_factory=dict)
    """What the broker has not let peers do: "who: what" -> how often, the most frequent first."""
    broker_restarts: int = 0
    """How often the broker died and was started again."""
    unknown: tuple[UnknownLoss, ...] = ()


@dataclass(frozen=True, slots=True)
class HostResult:
    """One host of a run on several, and how well its clock is known against the run's timeline."""

    name: str
    state: str
    """"here", "away", "gone" or what else became of it, in a word."""
    clock_error_ns: int = 0
    """Largest error of its stamps; 0: its clock is the timeline's own; `UNKNOWN` or more: it was never known."""
    offset_ns: int = 0
    """What was last to be added to its stamps."""
    drift_ppm: float | None = None
    """By how much its clock runs faster (or slower, below zero) than the timeline, in millionths; None: not known."""
    rtt_ns: int | None = None
    """The best round trip of a clock measurement; None: there was none."""
    away_s: float = 0.0
    """How long it was away, altogether."""


@dataclass(frozen=True, slots=True)
class BarrierResult:
    """How closely together the parties of one barrier went on. `skew` is from the first to the last of a round."""

    name: str
    rounds: int
    skew_p50_ns: int = 0
    skew_p99_ns: int = 0
    skew_max_ns: int = 0
    error_ns: int = 0
    """The largest error of these, where the parties were on several hosts."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run, judged. Becomes `result.json`."""

    run: str
    scenario: str
    verdict: Verdict
    duration_s: float
    units: tuple[UnitResult, ...] = ()
    circuits: tuple[CircuitResult, ...] = ()
    pairs: Pairs = Pairs()
    required: Required = Required()
    findings: tuple[Finding, ...] = ()
    evidence: Evidence = Evidence()
    notes: tuple[str, ...] = field(default=())
    hosts: tuple[HostResult, ...] = ()
    """Empty for a run on one host."""
    barriers: tuple[BarrierResult, ...] = ()
    """Those whose skew was measured."""
    redacted: tuple[str, ...] = ()
    """Environment variables whose values are in nothing that was kept."""
