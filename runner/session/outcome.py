"""What a run came to, and the exit code that says so.

Belongs here: that one value. Several runs together are the business of `cli`.
"""

from dataclasses import dataclass

from runner.errors import ExitCode
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
