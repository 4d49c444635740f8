"""The nouns of a judgement: verdicts, findings, latencies and the result of a run.

Belongs here: values only. Must not know how they are found (`judge`), shown (`view`) or kept (`history`).
All times are integers in nanoseconds.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


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
class Latency:
    """A distribution. Quantiles are exact up to 4,096 values, beyond that within 0.8 %. `max_ns` is exact, unless
    the largest of so many values was taken back when its instance was judged again."""

    count: int = 0
    p50_ns: int = 0
    p90_ns: int = 0
    p99_ns: int = 0
    max_ns: int = 0
    error_ns: int = 0
    """Largest clock error in any of the values; 0 when all units share one host."""
    bars: tuple[int, ...] = ()
    """Counts in a few logarithmic buckets from fast to slow, for a small picture; not part of result.json."""
    negative: int = 0
    """Values below zero (within the clock error, or an effect before its cause); they are in no other field."""


@dataclass(frozen=True, slots=True)
class Hop:
    """From one path element to the next, named as the user wrote them."""

    source: str
    target: str
    latency: Latency = Latency()


@dataclass(frozen=True, slots=True)
class Instances:
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
    instances: Instances
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
    """Records `first`..`last` of one incarnation that nobody will ever see."""

    unit: str
    incarnation: int
    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The books: what units emitted and what arrived, counted without the fabric's own records."""

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
