"""What a run came to, and the exit code that says so.

Belongs here: that one value. Several runs together are the business of `cli`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from runner.errors import ExitCode
from runner.launch.audit import Left
from runner.session import afterwards
from runner.verifier.verdict import Result, Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, and whether somebody stopped the run before its end."""

    result: Result
    interrupted: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """As fixed by contract."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return {
            Verdict.PASSED: ExitCode.PASSED,
            Verdict.FAILED: ExitCode.FAILED,
            Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
        }[self.result.verdict]

    def audited(self, left: Iterable[Left]) -> Self:
        """The same with what the audit found."""
        return replace(self, result=afterwards.with_findings(self.result, afterwards.left_behind(left)))
