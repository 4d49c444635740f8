"""What the judged instances of a circuit add up to, and the log of all faults.

Belongs here: counters, distributions, bounded lists of faults. Must not know how an instance is judged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from runner.core.verifier.judge import Fault, InstanceState, Judgement
from runner.core.verifier.pattern import Plan
from runner.model.result.latency import Distribution
from runner.model.result.result import FindingClass, InstanceCounts

KEPT: Final = 10_000
"""Findings of each class that are kept; beyond that they are counted."""

KEPT_OF_CIRCUIT: Final = 100
_MORE_WOULD_HELP: Final = frozenset(
    {FindingClass.MISSING, FindingClass.ORPHAN, FindingClass.ACAUSAL, FindingClass.LATE, FindingClass.COUNT}
)


def is_inconclusive(fault: Fault, *, lost_evidence: bool) -> bool:
    """Whether the finding might go away: by clock error, or because a unit that matters to it lost evidence. What was
    seen once too often stays seen."""
    return fault.unclear or (lost_evidence and fault.cls in _MORE_WOULD_HELP and not fault.too_many)


Times: TypeAlias = tuple[Sequence[int], Sequence[int] | None]
"""Latencies and the error of each; None: every one is exact."""


class FaultLog:
    """Every fault found so far; of each class the first 10,000 with everything that explains them."""

    def __init__(self) -> None:
        self.counts: Counter[FindingClass] = Counter()
        self._kept: defaultdict[FindingClass, dict[int, Fault]] = defaultdict(dict)

    def add(self, fault: Fault) -> bool:
        """Whether it is kept and not only counted."""
        self.counts[fault.cls] += 1
        kept = self._kept[fault.cls]
        if len(kept) >= KEPT:
            return False
        kept[id(fault)] = fault
        return True

    def remove(self, fault: Fault) -> None:
        """Undo one `add`."""
        self.counts[fault.cls] -= 1
        self._kept[fault.cls].pop(id(fault), None)

    def faults(self, most: int | None = None) -> Iterator[Fault]:
        """Those that are kept; of each class the first `most`, in order of arrival."""
        for kept in self._kept.values():
            yield from islice(kept.values(), most)

    def dropped(self) -> dict[FindingClass, int]:
        """How many of each class were counted only."""
        beyond = {cls: count - len(self._kept[cls]) for cls, count in self.counts.items()}
        return {cls: count for cls, count in beyond.items() if count}


class CircuitTally:
    """The state of one circuit. `judged` counts the instances that are not open by how they stand."""

    def __init__(self, plan: Plan, fault_log: FaultLog) -> None:
        self.plan = plan
        self.fault_log = fault_log
        self.started = 0
        self.judged = dict.fromkeys(InstanceState, 0)
        self.hops = [Distribution() for _ in plan.places]
        """Latency of the hop that ends at each place; the first stays empty."""
        self.total = Distribution()
        self.circuit_faults: list[Fault] = []
        """The first findings against the circuit as a whole."""
        self.undecided = False
        """Too few instances had begun when the run was cut off."""

    def add_fault(self, fault: Fault) -> None:
        """A finding against the circuit itself, not one of its instances."""
        fault.circuit = self.plan.name
        self.fault_log.add(fault)
        if len(self.circuit_faults) < KEPT_OF_CIRCUIT:
            self.circuit_faults.append(fault)

    def apply(self, key: str | None, judgement: Judgement) -> None:
        """Count the instance of `key`."""
        self.judged[judgement.state] += 1
        for place, latency, error in judgement.hops:
            self.hops[place].add(latency, error)
        if judgement.total is not None:
            self.total.add(*judgement.total)
        for fault in judgement.faults:
            fault.circuit, fault.key = self.plan.name, key
            self.fault_log.add(fault)

    def withdraw(self, judgement: Judgement) -> None:
        """Undo `apply`: more has come to light."""
        self.judged[judgement.state] -= 1
        for place, latency, error in judgement.hops:
            self.hops[place].take_back(latency, error)
        if judgement.total is not None:
            self.total.take_back(*judgement.total)
        for fault in judgement.faults:
            self.fault_log.remove(fault)

    def apply_flawless(self, count: int, hops: Sequence[Times], totals: Times) -> None:
        """Count many complete instances at once; `hops` has the latencies for each place but the first."""
        self.judged[InstanceState.COMPLETE] += count
        for distribution, times in zip(self.hops[1:], hops, strict=True):
            distribution.add_all(*times)
        self.total.add_all(*totals)

    def instances(self, still_open: int, *, lost_evidence: bool) -> InstanceCounts:
        """The counts; `lost_evidence`: a unit that matters to the circuit lost some."""
        judged = self.judged
        soft, unclear = judged[InstanceState.SOFT], judged[InstanceState.UNCLEAR]
        return InstanceCounts(
            started=self.started,
            complete=judged[InstanceState.COMPLETE],
            failed=judged[InstanceState.HARD] + (0 if lost_evidence else soft),
            open=judged[InstanceState.OPEN] + still_open,
            inconclusive=unclear + (soft if lost_evidence else 0),
        )
