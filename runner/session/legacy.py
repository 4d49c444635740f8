"""What a legacy folder asks for beyond a scenario: its test functions, its callbacks, and the files it wants written.

Belongs here: the order of these at the end of a run and the shape of their data. docs/circuit.md states each effect.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.adapters import files
from runner.adapters.launch.callback import Answer, Meanwhile
from runner.adapters.launch.legacy_functions import Functions, Tested
from runner.adapters.start_orders import RunContext
from runner.model.result import result_json
from runner.model.result.result import Finding, FindingClass, Result, Verdict
from runner.model.scenario.model import Legacy, Scenario
from runner.session import post_checks

_BAD_BEHAVIOR = frozenset({FindingClass.ORPHAN, FindingClass.DUPLICATE, FindingClass.EXCEPTION})


class LegacyHooks:
    """The functions of a legacy folder, and what they came to."""

    def __init__(self, legacy: Legacy, functions: Functions | None) -> None:
        self._legacy = legacy
        self._functions = functions
        self._tested: tuple[Tested, ...] = ()

    def tests(self, meanwhile: Meanwhile) -> None:
        """After the units: the test functions."""
        if self._functions is not None:
            self._tested = self._functions.tests(meanwhile)

    def judged(self, result: Result, meanwhile: Meanwhile) -> Result:
        """After the verdict: what the folder's own options and functions make of it. Of a run that was interrupted no
        function is reported."""
        result = post_checks.with_findings(tolerant(result, self._legacy), post_checks.test_findings(self._tested))
        if self._functions is None or self._legacy.tests_results is None or result.verdict is Verdict.INTERRUPTED:
            return result
        answer = self._functions.results(summary_of(result, self._tested), meanwhile)
        name = self._legacy.tests_results.partition(":")[2]
        wrong = () if answer.ok else (_finding(name, answer),)
        return post_checks.with_findings(result, wrong)

    def write(self, result: Result, folder: Path) -> None:
        """The files that the folder asks for."""
        if self._legacy.save_metrics:
            plain = result_json.plain(result)
            circuits = [{name: each[name] for name in ("name", "latency", "hops")} for each in plain["circuits"]]
            latencies = {"pairs": plain["pairs"]["latency"], "circuits": circuits}
            _write(folder / "metrics.json", {"duration_s": result.duration_s, **latencies})
        if self._legacy.save_scores:
            _write(folder / "scores.json", scores_of(result, self._tested))


@contextmanager
def rest_of(scenario: Scenario, context: RunContext) -> Iterator[LegacyHooks | None]:
    """What `scenario` asks for as a legacy folder; None when it is not one."""
    legacy = scenario.legacy
    if legacy is None:
        yield None
    elif legacy.tests or legacy.tests_results is not None:
        with Functions(scenario, context) as functions:
            yield LegacyHooks(legacy, functions)
    else:
        yield LegacyHooks(legacy, None)


def summary_of(result: Result, tested: Sequence[Tested]) -> dict[str, Any]:
    """What `tests_results` is called with."""
    return {
        "duration": result.duration_s,
        "passed": result.verdict is Verdict.PASSED,
        "tests_results": [{"name": one.name, "passed": one.passed, "total_time": one.seconds} for one in tested],
        "events_completed": [{"unit": unit, "step": step} for unit, step in result.required.completed],
        "events_missing": [{"unit": unit, "step": step} for unit, step in result.required.missing],
        "correlations": {
            "paired": result.pairs.paired,
            "orphan_sends": list(result.pairs.orphan_sends),
            "orphan_receives": list(result.pairs.orphan_receives),
            "duplicate_keys": list(result.pairs.duplicate_keys),
            "average_latency": result.pairs.latency.p50_ns / 1e9,
        },
    }


def scores_of(result: Result, tested: Sequence[Tested]) -> dict[str, float]:
    """Shares from 0 to 1; 1 where there was nothing to pass."""
    completed, missing = len(result.required.completed), len(result.required.missing)
    alone = len(result.pairs.orphan_sends) + len(result.pairs.orphan_receives)
    return {
        "tests": _share(sum(one.passed for one in tested), len(tested)),
        "required": _share(completed, completed + missing),
        "pairs": _share(result.pairs.paired, result.pairs.paired + alone),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def tolerant(result: Result, legacy: Legacy) -> Result:
    """Without `detect-bad-behavior`, orphans, duplicates and exceptions are counted and fail nothing."""
    if legacy.detect_bad_behavior:
        return result
    kept = tuple(finding for finding in result.findings if finding.cls not in _BAD_BEHAVIOR)
    failed = any(not finding.inconclusive for finding in kept)
    verdict = Verdict.FAILED if failed else Verdict.INCONCLUSIVE if kept else Verdict.PASSED
    if result.verdict is Verdict.INTERRUPTED:
        verdict = result.verdict
    return replace(result, findings=kept, verdict=verdict)


def _finding(name: str, answer: Answer) -> Finding:
    return Finding(FindingClass.CHECK, f"{name} {answer.why}", step=name, details=answer.details)


def _write(path: Path, value: object) -> None:
    files.write(path, json.dumps(value, indent=2) + "\n")
