"""What comes after the log's last word: what user code (`setup`, `check`, functions of a legacy folder) and the audit
come to, as findings.

Belongs here: turning answers into findings and findings into a verdict. Must not know processes (that is `launch`).
"""

from collections.abc import Iterable
from dataclasses import replace

from runner.adapters.launch.audit import Leftover
from runner.adapters.launch.callback import Answer
from runner.adapters.launch.legacy_functions import Tested
from runner.core.report.quantity import plural
from runner.model.result.ranking import in_order
from runner.model.result.result import Finding, FindingClass, Result, Verdict
from runner.model.scenario.model import Callback
from runner.session.dispatcher import Dispatcher


def finding(what: str, callback: Callback | None, answer: Answer) -> tuple[Finding, ...]:
    """The finding that a failed call of `what` ("check", "setup") is, or none."""
    if answer.ok or callback is None:
        return ()
    name = callback.entrypoint or " ".join(callback.command or ())
    said = answer.why if name in answer.why else f"{name} {answer.why}"
    return (
        Finding(FindingClass.CHECK, f"{what} {said}", step=what, details=answer.details, inconclusive=answer.stopped),
    )


def test_findings(tested: Iterable[Tested]) -> tuple[Finding, ...]:
    """A finding for every test function that did not pass."""
    return tuple(
        Finding(
            FindingClass.CHECK,
            f"{one.name} {one.answer.why}",
            step=one.name,
            details=one.answer.details,
            inconclusive=one.answer.stopped,
        )
        for one in tested
        if not one.passed
    )


def left_behind(left: Iterable[Leftover]) -> tuple[Finding, ...]:
    """A finding for each thing that the audit found. Evidence that was not published accuses no unit."""
    classes = {True: FindingClass.LOST_EVIDENCE, False: FindingClass.LEFTOVER}
    return tuple(Finding(classes[one.evidence], one.sentence, inconclusive=one.evidence) for one in left)


def restarts_note(times: int) -> tuple[str, ...]:
    """What to know of a broker that was started again."""
    if not times:
        return ()
    return (
        f"the broker died and was started again {plural(times, 'time')}; its log holds all that it had acknowledged",
    )


def with_findings(result: Result, more: Iterable[Finding]) -> Result:
    """`result` with findings that were made after it."""
    more = tuple(more)
    if not more:
        return result
    verdict = Verdict.FAILED if any(not finding.inconclusive for finding in more) else Verdict.INCONCLUSIVE
    if result.verdict in (Verdict.FAILED, Verdict.INTERRUPTED):
        verdict = result.verdict
    return replace(result, verdict=verdict, findings=in_order([*result.findings, *more]))


def interrupted(result: Result) -> Result:
    """`result` of a run that a person ended: neither passed nor failed, whatever was found until then."""
    return replace(result, verdict=Verdict.INTERRUPTED)


def with_hosts(result: Result, dispatcher: Dispatcher, now_ns: int) -> Result:
    """`result` with how the hosts of the run stood, and how closely together barriers opened."""
    return replace(
        result,
        hosts=dispatcher.host_results.results(dispatcher.timeline, now_ns),
        barriers=dispatcher.skews.results(dispatcher.timeline.error),
        notes=(*result.notes, *dispatcher.host_results.notes()),
    )


def said_before(recorded: Result) -> tuple[Finding, ...]:
    """What user code, which is not called again, and the system's own look at processes said about a recorded run."""
    return tuple(
        found
        for found in recorded.findings
        if found.cls is FindingClass.CHECK or (found.cls is FindingClass.LEFTOVER and found.unit is None)
    )
