"""Failures of units that lost evidence may be the reason for.

Belongs here: which findings about units are not certain, because events that would say more are lost. Must not know how
units start and end.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from runner.core.verifier.losses import Losses
from runner.model.result.result import Finding, FindingClass
from runner.model.result.unit_status import UnitStatus


def weigh(
    findings: Iterable[Finding], losses: Losses, unwatched: Iterable[str], statuses: Mapping[str, UnitStatus]
) -> Iterator[Finding]:
    """`findings` about units; those that may not hold are marked as inconclusive. `unwatched` are units of hosts whose
    supervisors lost evidence: how those ended is not known."""
    misled, affected, unwatched = losses.misled, losses.affected, set(unwatched)
    for finding in findings:
        unit = finding.unit or ""
        status = statuses.get(unit)
        unheard = unit in unwatched and (status is None or status.exit_code is None)
        unsure = {
            FindingClass.NOT_READY: unit in affected or unheard,  # its probe may be what was lost
            FindingClass.UNIT_FAILED: unit in misled or unheard,
        }
        yield replace(finding, inconclusive=True) if unsure.get(finding.cls) else finding
