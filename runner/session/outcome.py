"""What a run came to, and the exit code that says so.

Belongs here: that one value. Several runs together are the business of `cli`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from runner.adapters.launch.audit import Leftover
from runner.model.errors import ExitCode
from runner.model.result.result import Result, Verdict
from runner.session import post_checks


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, and what a command makes of it."""

    result: Result

    @property
    def interrupted(self) -> bool:
        """Whether somebody ended the run before its end."""
        return self.result.verdict is Verdict.INTERRUPTED

    @property
    def exit_code(self) -> ExitCode:
        """As fixed by contract."""
        return {
            Verdict.PASSED: ExitCode.PASSED,
            Verdict.FAILED: ExitCode.FAILED,
            Verdict.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
            Verdict.INTERRUPTED: ExitCode.INTERRUPTED,
        }[self.result.verdict]

    def audited(self, left: Iterable[Leftover]) -> Self:
        """The same with what the audit found."""
        return replace(self, result=post_checks.with_findings(self.result, post_checks.left_behind(left)))
