"""The Result of a run, from what the verifier found and what other parts have to add.

Belongs here: putting the parts together. Must not know how any of them is found.
"""

from collections.abc import Iterable
from typing import Final

from runner.core.verifier import final_checks
from runner.core.verifier.excuses import weigh
from runner.core.verifier.unit_activity import Activity
from runner.core.verifier.verifier import Verifier
from runner.model.orders import supervisor_of
from runner.model.result.ranking import in_order
from runner.model.result.result import BarrierResult, Evidence, Finding, HostResult, Result
from runner.model.result.unit_status import UnitStatus

_NOTHING_COUNTED: Final = Evidence()


def result_of(
    verifier: Verifier,
    *,
    run: str,
    duration_s: float,
    statuses: Iterable[UnitStatus],
    findings: Iterable[Finding] = (),
    counted: Evidence = _NOTHING_COUNTED,
    notes: Iterable[str] = (),
    hosts: Iterable[HostResult] = (),
    barriers: Iterable[BarrierResult] = (),
) -> Result:
    """Everything about the run that `verifier` judges. `findings`, `counted`, `notes`, `hosts` and `barriers` are those
    of other parts."""
    by_name = {status.name: status for status in statuses}
    silent = verifier.losses.units
    unwatched = [unit.name for unit in verifier.scenario.units if supervisor_of(unit.host) in silent]
    weighed = weigh(findings, verifier.losses, unwatched, by_name)
    everything = in_order([*weighed, *verifier.findings(by_name)])
    circuits = verifier.circuits()
    activity = verifier.activity()
    malformed = {unit: one.malformed for unit, one in activity.items() if one.malformed}
    return Result(
        run=run,
        scenario=verifier.scenario.name,
        verdict=final_checks.verdict_of(everything, circuits),
        duration_s=duration_s,
        units=tuple(
            final_checks.unit_result(status, activity.get(status.name, Activity()).events)
            for status in by_name.values()
        ),
        circuits=circuits,
        pairs=verifier.pairs(),
        required=verifier.required(),
        findings=everything,
        evidence=verifier.evidence(counted),
        notes=(*notes, *final_checks.notes(circuits, verifier.fault_log.dropped(), malformed)),
        hosts=tuple(hosts),
        barriers=tuple(barriers),
    )
