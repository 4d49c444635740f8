"""What is judged once, at the end of a run: numbers of instances, budgets, pairs, names that never fired.

Belongs here: findings against a circuit or a unit as a whole. Must not know single instances.

A circuit that no event ever matched is a finding, unless it says `instances = ">= 0"` (or another range with 0). A
name that never fired and is no fault otherwise (in an `optional`, a `never`) is one, inconclusive, when a unit it means
fired a name one typo away that the scenario does not know: most likely it is misspelt, and would pass for ever.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from runner.core.verifier.circuit_tally import is_inconclusive
from runner.core.verifier.judge import Fault
from runner.core.verifier.pairs import ACAUSAL, SENT, TWICE, PairBook
from runner.core.verifier.pattern import fires
from runner.core.verifier.tracker import InstanceTracker
from runner.core.verifier.typos import typo
from runner.model.result.result import CircuitResult, Finding, FindingClass, Hop, Latency, Required, UnitResult, Verdict
from runner.model.result.unit_status import UnitStatus
from runner.model.scenario.model import Budget, Scenario


def judge_circuit(
    tracker: InstanceTracker[Any],
    fired: Mapping[str, Collection[str]],
    named: Collection[str],
    *,
    lost_evidence: bool,
    cut_off: bool,
) -> None:
    """Find the faults of a circuit as a whole, once all its instances are judged: a wrong number of them, broken
    budgets, names that no unit fired. `fired` has the steps of every unit, `named` those that the scenario names
    anywhere. `cut_off`: the run was interrupted, so that too few instances are no fault while more could have begun."""
    plan, tally = tracker.plan, tracker.tally
    if (miscount := _miscount(tracker)) is not None:
        if cut_off and miscount.unclear:
            tally.undecided = True
        else:
            tally.add_fault(miscount)
    for place, distribution in ((None, tally.total), *((p.index, tally.hops[p.index]) for p in plan.places)):
        budget = plan.circuit.budget if place is None else plan.circuit.hop_budgets.get(plan.places[place].name)
        latency = distribution.summary()
        if budget is not None and (latency.count or latency.unknown):
            for fault in _broken(budget, latency, place, lost_evidence=lost_evidence):
                tally.add_fault(fault)

    def never_fired(unit: str, step: str, means: Callable[[str], bool], cls: FindingClass) -> None:
        steps = {name for one, names in fired.items() if means(one) for name in names}
        near = [name for name in sorted(steps - set(named)) if len(step) > 3 and typo(name, step)]
        if step not in steps and near:
            tally.add_fault(Fault(cls, unit=unit, step=step, note=near[0], unclear=True))

    for slot in plan.slots:
        if slot.elastic and tally.started:
            never_fired(slot.unit, slot.step, slot.means, FindingClass.MISSING)
    for probe in plan.circuit.never:
        never_fired(probe.unit, probe.step, partial(fires, probe, step=probe.step), FindingClass.UNEXPECTED)


def _miscount(tracker: InstanceTracker[Any]) -> Fault | None:
    """That there were too few instances, or too many."""
    tally, first = tracker.tally, tracker.plan.places[0].slots[0]
    asked = tracker.plan.circuit.instances
    final = tracker.horizons(closing=True)[0].final
    if asked is None:
        nothing = not tally.started and not any(tally.judged.values())
        return Fault(FindingClass.MISSING, slot=first, unclear=not final) if nothing else None
    too_many = asked.at_most is not None and tally.started > asked.at_most
    if not too_many and tally.started >= asked.at_least:
        return None
    return Fault(
        FindingClass.COUNT,
        slot=first,
        value=tally.started,
        note=_asked(asked.at_least, asked.at_most),
        unclear=not too_many and not final,
        too_many=too_many,
    )


def _asked(at_least: int, at_most: int | None) -> str:
    if at_most is None:
        return f"at least {at_least:,}"
    if at_least == at_most:
        return f"exactly {at_least:,}"
    return f"{at_least:,} to {at_most:,}" if at_least else f"at most {at_most:,}"


def _broken(budget: Budget, latency: Latency, place: int | None, *, lost_evidence: bool) -> Iterator[Fault]:
    """The limits of `budget` that `latency` breaks, surely or perhaps. Lost evidence leaves a quantile undecided, but
    no maximum gets smaller."""
    for name, limit, value, error in (
        ("p50", budget.p50_ns, latency.p50_ns, latency.p50_error_ns),
        ("p90", budget.p90_ns, latency.p90_ns, latency.p90_error_ns),
        ("p99", budget.p99_ns, latency.p99_ns, latency.p99_error_ns),
        ("max", budget.max_ns, latency.max_ns, latency.max_error_ns),
    ):
        least, most = latency.between(name)
        if limit is not None and most > limit:
            yield Fault(
                FindingClass.BUDGET,
                place=place,
                value=value,
                limit=limit,
                error=error,
                note=name,
                unclear=least <= limit or (lost_evidence and name != "max"),
            )


def unfired(
    scenario: Scenario, has_seen: Callable[[str, str], bool], is_final: Callable[[str], bool]
) -> Iterator[Fault]:
    """`expect` probes that did not fire. `is_final`: whether a unit can fire no more."""
    for unit in scenario.units:
        for step in unit.expect:
            if not has_seen(unit.name, step):
                yield Fault(FindingClass.MISSING, unit=unit.name, step=step, unclear=not is_final(unit.name))


def unpaired(pairs: PairBook, *, final: bool, cut_off: bool = False) -> Iterator[Fault]:
    """Keys without their other half or twice at one place that no circuit explains. `final`: nothing is to come;
    `cut_off`: a half that might have come is no fault."""
    for lone in pairs.unexplained(halves=final or not cut_off):
        unit, step = lone.sites[0] if lone.sites else ("?", "?")
        if lone.state & TWICE:
            yield Fault(FindingClass.DUPLICATE, key=lone.key, unit=unit, step=step, too_many=True)
        elif lone.state & ACAUSAL:
            sender = ": ".join(lone.sites[-1])
            sent_ns = lone.received_ns + lone.lead_ns
            yield Fault(
                FindingClass.ACAUSAL,
                key=lone.key,
                unit=unit,
                step=step,
                note=sender,
                value=lone.lead_ns,
                error=lone.error_ns,
                stamped=((unit, lone.received_ns), (lone.sites[-1][0], sent_ns)),
            )
        else:
            note = "received" if lone.state & SENT else "sent"
            yield Fault(FindingClass.ORPHAN, key=lone.key, unit=unit, step=step, note=note, unclear=not final)


def verdict_of(findings: Iterable[Finding], circuits: Iterable[CircuitResult]) -> Verdict:
    """What the whole run comes to."""
    clear = [not finding.inconclusive for finding in findings]
    if any(clear):
        return Verdict.FAILED
    if clear or any(circuit.verdict is not Verdict.PASSED for circuit in circuits):
        return Verdict.INCONCLUSIVE
    return Verdict.PASSED


def notes(
    circuits: Iterable[CircuitResult], dropped: Mapping[FindingClass, int], malformed: Mapping[str, int]
) -> Iterator[str]:
    """What a reader of the result should know beside the findings. `dropped` has how many findings of a class were
    counted but not kept, `malformed` how many records of a unit were none."""
    for circuit in circuits:
        if still := circuit.instances.open:
            were = "instance was" if still == 1 else "instances were"
            yield f"{circuit.name}: {still:,} {were} still in time when the run ended"
    for cls, count in dropped.items():
        were = "finding was" if count == 1 else "findings were"
        yield f"of class {cls}, {count:,} more {were} counted but not kept"
    for unit, count in malformed.items():
        yield f"{unit} sent rubbish in place of {count:,} of its records; it was ignored"


def circuit_result(tracker: InstanceTracker[Any], *, lost_evidence: bool) -> CircuitResult:
    """What a circuit comes to, as of now."""
    plan, tally = tracker.plan, tracker.tally
    instances = tally.instances(tracker.open_count(), lost_evidence=lost_evidence)
    certain = [not is_inconclusive(fault, lost_evidence=lost_evidence) for fault in tally.circuit_faults]
    if instances.failed or any(certain):
        verdict = Verdict.FAILED
    elif instances.inconclusive or instances.open or certain or lost_evidence or tally.undecided:
        verdict = Verdict.INCONCLUSIVE
    else:
        verdict = Verdict.PASSED
    hops = tuple(
        Hop(source.name, target.name, tally.hops[target.index].summary())
        for source, target in zip(plan.places, plan.places[1:], strict=False)
    )
    return CircuitResult(plan.name, verdict, instances, tally.total.summary(), hops)


def required(scenario: Scenario, has_seen: Callable[[str, str], bool]) -> Required:
    """The `ready` and `expect` probes of all units."""
    asked = [
        (unit.name, step)
        for unit in scenario.units
        for step in dict.fromkeys((*((unit.ready,) if unit.ready is not None else ()), *unit.expect))
    ]
    return Required(
        completed=tuple(probe for probe in asked if has_seen(*probe)),
        missing=tuple(probe for probe in asked if not has_seen(*probe)),
    )


def unit_result(status: UnitStatus, events: int) -> UnitResult:
    """What became of a unit that emitted `events`."""
    ready_s = None
    if status.ready_ns is not None and status.started_ns is not None:
        ready_s = (status.ready_ns - status.started_ns) / 1e9
    return UnitResult(status.name, str(status.state), status.exit_code, status.host, events, ready_s)
