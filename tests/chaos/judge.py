"""One run that is over, held against what its units know: tally, log and result in, faults out.

Belongs here: what must be so after a run, whatever struck it. Must not know processes, files or the time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from broker.log import Entry
from probe.event import USER_KINDS
from probe.message import Events, Gap, Hello
from probe.wire import unpack_records
from tests.chaos.plan import UNITS, Plan
from tests.chaos.units import Life


class Wrong(StrEnum):
    """What a campaign counts; every one of them is to be zero."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    MISORDERED = "misordered"
    FALSE_FAILED = "false failed"
    FALSE_PASSED = "false passed"
    INCONCLUSIVE = "wrongly inconclusive"
    OTHER_FINDING = "wrong finding"
    VERIFY_DIFFERS = "verify differs"
    BROKEN = "run broken"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not be. `count` is in events for what is lost, duplicated or misordered."""

    wrong: Wrong
    what: str
    count: int = 1


@dataclass(slots=True)
class Spoken:
    """What the log has of one incarnation: event numbers in order, and what is wrong with the books themselves."""

    unit: str
    incarnation: int
    pid: int = 0
    numbers: list[int] = field(default_factory=list)
    next_seq: int = 1
    faults: list[Fault] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.unit} (incarnation {self.incarnation}, pid {self.pid})"


@dataclass(frozen=True, slots=True)
class Judged:
    """One verdict, and what the command that gave it ended with. `result` is None if there is none."""

    code: int
    result: Mapping[str, Any] | None

    @property
    def verdict(self) -> str:
        return str(self.result["verdict"]) if self.result is not None else ""

    @property
    def findings(self) -> list[tuple[str, str | None, str | None]]:
        """(class, unit, key) of each that is certain."""
        found = self.result["findings"] if self.result is not None else ()
        certain = [each for each in found if not each["inconclusive"]]
        return sorted(((each["class"], each["unit"], each["key"]) for each in certain), key=str)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run when all of it is over. `live` is what `circuit-run` came to, `again` what `circuit-run verify` said of its
    folder, if it was asked; `runner_killed`: the runner did not live to its end."""

    plan: Plan
    lives: Mapping[str, Sequence[Life]]
    children: Mapping[str, Sequence[Life]]
    spoken: Sequence[Spoken]
    live: Judged
    again: Judged | None
    runner_killed: bool
    left: Sequence[str] = ()
    """Processes and files that are still there."""
    errors: Sequence[str] = ()
    """What went wrong with a command itself."""


def spoken_in(entries: Iterable[Entry]) -> list[Spoken]:
    """What each incarnation of each unit said, by the log."""
    found: dict[tuple[str, int], Spoken] = {}
    for entry in entries:
        if entry.unit.startswith("@"):
            continue
        each = found.setdefault((entry.unit, entry.incarnation), Spoken(entry.unit, entry.incarnation))
        match entry.message:
            case Hello(pid=pid):
                each.pid = pid
            case Gap(first, last, why):
                each.faults.append(Fault(Wrong.LOST, f"{each.name}: a gap {first}..{last}: {why}", last - first + 1))
                each.next_seq = last + 1
            case Events():
                _hear(each, entry.body)
    return list(found.values())


def _hear(each: Spoken, body: bytes) -> None:
    for seq, _, _, kind, key, _ in unpack_records(body):
        if seq > each.next_seq:
            count = seq - each.next_seq
            each.faults.append(Fault(Wrong.LOST, f"{each.name}: nothing before record {seq}", count))
        elif seq < each.next_seq:
            each.faults.append(Fault(Wrong.DUPLICATED, f"{each.name}: record {seq} is in the log again"))
        each.next_seq = max(each.next_seq, seq + 1)
        if kind in USER_KINDS:
            each.numbers.append(int(key))


def faults(run: Ended) -> list[Fault]:
    """Everything that is wrong with the run."""
    evidence = evidence_faults(run.plan, run.lives, run.children, run.spoken)
    if run.plan.disk_kib:
        return [*_small_disk_faults(run, evidence), *(Fault(Wrong.BROKEN, what) for what in run.errors)]
    return [
        *evidence,
        *verdict_faults(run),
        *(Fault(Wrong.BROKEN, what) for what in run.errors),
        *(Fault(Wrong.LEFTOVER, what) for what in run.left),
    ]


# --- evidence ---------------------------------------------------------------------------------------------------------


def emitted(plan: Plan, lives: Mapping[str, Sequence[Life]], children: Mapping[str, Sequence[Life]]) -> int:
    """How many emits are known to have returned."""
    return sum(
        sum(life.done - life.first for life in lives[unit]) + _planted_more(plan, unit, lives[unit]) for unit in lives
    ) + sum(life.done for unit in children for life in children[unit])


def _planted_more(plan: Plan, unit: str, lives: Sequence[Life]) -> int:
    plant = plan.plant
    if plant is None or plant.unit != unit:
        return 0
    return sum(plant.copies - 1 for life in lives if life.first <= plant.number < life.done)


def evidence_faults(
    plan: Plan,
    lives: Mapping[str, Sequence[Life]],
    children: Mapping[str, Sequence[Life]],
    spoken: Sequence[Spoken],
) -> list[Fault]:
    """Every emit that returned is in the log exactly once and in its place, at most the uncertain one more."""
    found = [fault for each in spoken for fault in each.faults]
    by_pid = {(each.unit, each.pid): each for each in spoken}
    for unit in UNITS:
        for number, life in enumerate(lives.get(unit, ()), 1):
            name = f"{unit}, life {number} (pid {life.pid})"
            each = by_pid.pop((unit, life.pid), None)
            found += _life_faults(partial(plan.copies, unit), name, life, each.numbers if each is not None else [])
        for number, life in enumerate(children.get(unit, ()), 1):
            name = f"{unit}, child {number} (pid {life.pid})"
            each = by_pid.pop((unit, life.pid), None)
            found += _life_faults(lambda _: 1, name, life, each.numbers if each is not None else [])
    for each in by_pid.values():  # killed before its code ran: it cannot have said anything of its own
        if each.numbers:
            what = f"{each.name} is no life that the tally knows, and emitted {len(each.numbers)} events"
            found.append(Fault(Wrong.DUPLICATED, what, len(each.numbers)))
    return found


def _life_faults(copies: Callable[[int], int], name: str, life: Life, numbers: Sequence[int]) -> list[Fault]:
    """`copies` says how often an event of this number is emitted."""
    sure = [number for number in range(life.first, life.done) for _ in range(copies(number))]
    uncertain = [life.done] * copies(life.done) if life.begun > life.done else []
    if list(numbers[: len(sure)]) == sure and list(numbers[len(sure) :]) == uncertain[: len(numbers) - len(sure)]:
        return []
    expected, present = _counted(sure), _counted(numbers)
    missing = {number: count - present.get(number, 0) for number, count in expected.items()}
    missing = {number: count for number, count in missing.items() if count > 0}
    allowed = _counted([*sure, *uncertain])
    surplus = {number: count - allowed.get(number, 0) for number, count in present.items()}
    surplus = {number: count for number, count in surplus.items() if count > 0}
    found = []
    if missing:
        found.append(Fault(Wrong.LOST, f"{name}: {_ranges(missing)} not in the log", sum(missing.values())))
    if surplus:
        what = f"{name}: {_ranges(surplus)} more often in the log than emitted"
        found.append(Fault(Wrong.DUPLICATED, what, sum(surplus.values())))
    if not found:
        at = next((i for i, (one, other) in enumerate(zip(numbers, sure, strict=False)) if one != other), len(sure))
        found.append(Fault(Wrong.MISORDERED, f"{name}: the order is another from place {at} on"))
    return found


def _counted(numbers: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for number in numbers:
        counts[number] = counts.get(number, 0) + 1
    return counts


def _ranges(numbers: Iterable[int]) -> str:
    """Event numbers for people: "events 3..7, 9"; the first few ranges."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    words = [f"{first}..{last}" if last > first else f"{first}" for first, last in ranges[:5]]
    return f"events {', '.join(words)}{' and more' if len(ranges) > 5 else ''}"


# --- the verdict ------------------------------------------------------------------------------------------------------


def expected_findings(plan: Plan) -> list[tuple[str, str | None, str | None]]:
    """(class, unit, key) of what a run of this plan must be accused of, however it is struck."""
    plant = plan.plant
    if plant is None:
        return []
    if plant.copies:
        return [("duplicate", plant.unit, str(plant.number))]
    if plant.unit != UNITS[0]:
        return [("missing", plant.unit, str(plant.number))]
    return [("count", UNITS[0], None), ("orphan", UNITS[1], str(plant.number))]


def verdict_faults(run: Ended) -> list[Fault]:
    """What is wrong with the verdicts."""
    if run.runner_killed:
        if run.again is None or run.again.result is None:
            return [Fault(Wrong.BROKEN, f"verify of the killed run ended with {run.again and run.again.code}")]
        return _cut_faults(run, run.again)
    found = _whole_faults(run.plan, run.live, "circuit-run")
    if run.again is not None and not found:
        found = _whole_faults(run.plan, run.again, "verify")
        if run.live.result != run.again.result:
            found.append(Fault(Wrong.VERIFY_DIFFERS, "verify gives another result.json than the live run"))
    return found


def _whole_faults(plan: Plan, judged: Judged, who: str) -> list[Fault]:
    """A run that came to its end: nothing was lost, so there is one right answer."""
    expected = expected_findings(plan)
    right = ("failed", 1) if expected else ("passed", 0)
    what = f"{who}: exit code {judged.code}, {judged.verdict or 'no result'}, {judged.findings[:5]}"
    if (judged.verdict, judged.code) == right:
        return [] if judged.findings == expected else [Fault(Wrong.OTHER_FINDING, f"{what}; expected {expected}")]
    wrong = {"failed": Wrong.FALSE_FAILED, "passed": Wrong.FALSE_PASSED, "inconclusive": Wrong.INCONCLUSIVE}
    contradicts = judged.verdict == right[0]  # the exit code says something else
    return [Fault(Wrong.BROKEN if contradicts else wrong.get(judged.verdict, Wrong.BROKEN), what)]


def _small_disk_faults(run: Ended, evidence: Sequence[Fault]) -> list[Fault]:
    """A run that may have filled its disk. It has the right verdict, or none that is certain; passed it has only if
    everything is there."""
    expected = expected_findings(run.plan)
    lost = [fault for fault in evidence if fault.wrong is Wrong.LOST]
    found = [fault for fault in evidence if fault.wrong is not Wrong.LOST]
    for judged in (run.live, run.again):
        if judged is None:
            continue
        what = f"on a disk of {run.plan.disk_kib} KiB: exit code {judged.code}, {judged.verdict}, {judged.findings[:5]}"
        if judged.verdict == "passed" and (lost or expected):
            found.append(Fault(Wrong.FALSE_PASSED, f"{what}; {lost[:3]}"))
        if judged.verdict == "failed" and (not expected or not set(judged.findings) <= set(expected)):
            found.append(Fault(Wrong.FALSE_FAILED, what))
    return found + [Fault(Wrong.LEFTOVER, what) for what in run.left if not what.startswith("journal")]


def _cut_faults(run: Ended, judged: Judged) -> list[Fault]:
    """A run whose runner was killed: what was cut off may accuse nobody, and may not be taken for done."""
    expected, plan = expected_findings(run.plan), run.plan
    whole = all(run.lives[unit] and run.lives[unit][-1].done == plan.events for unit in UNITS)
    what = f"verify: exit code {judged.code}, {judged.verdict}, {judged.findings[:5]}"
    if judged.verdict == "passed" and (expected or not whole):
        return [Fault(Wrong.FALSE_PASSED, what)]
    if judged.verdict == "failed" and (not expected or not set(judged.findings) <= set(expected)):
        return [Fault(Wrong.FALSE_FAILED, what)]
    return []
