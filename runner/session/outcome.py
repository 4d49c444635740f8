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

    def audited(self, left: Iterable[Left]) -> Self:
        """The same with what the audit found."""
        return replace(self, result=afterwards.with_findings(self.result, afterwards.left_behind(left)))
