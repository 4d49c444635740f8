"""The error tree of the package `runner`, each with the exit code that the command line turns it into.

CircuitRunError            3   root; raised itself only for "this should never happen"
├── ScenarioError          4   a scenario that is wrong; carries every mistake found, each with its place
├── UsageError             4   a command line, path or address that makes no sense
│   └── NothingToRun       5   the paths hold no scenario, or --less left none
├── BrokerFailed           3   the broker did not start, refused us or went away for good
│   ├── BrokerFull         3   a broker that others run has no room for the run
│   └── DiskFull           3   what a run has to write down does not fit on its disk any more
├── SupervisorFailed       3   the supervisor did not start, went away or stands still
│   └── Abandoned          2   the run was interrupted twice and did not end
└── RecordingError         4   a run folder that is missing, incomplete or damaged
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What `circuit-run` returns to the shell; fixed by contract."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    NOTHING = 5
    INCONCLUSIVE = 6


class CircuitRunError(Exception):
    """Root of every error that this package raises on purpose. The message is meant for the user as it stands."""

    exit_code: ExitCode = ExitCode.INTERNAL


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a scenario: where (`file`, dotted `path`, `line` from 1 or None), and what to do about it."""

    file: str
    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.path} " if self.path else ""
        line = f"   (line {self.line})" if self.line is not None else ""
        return f"{self.file}: {place}{self.message}{line}"


class ScenarioError(CircuitRunError):
    """A scenario that cannot be run; `mistakes` has at least one entry and the message has a line for each."""

    exit_code = ExitCode.USAGE

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class UsageError(CircuitRunError):
    """The command line asks for something that is not there or makes no sense."""

    exit_code = ExitCode.USAGE


class NothingToRun(UsageError):
    """No scenario was found, or none is left."""

    exit_code = ExitCode.NOTHING


class BrokerFailed(CircuitRunError):
    """The broker did not come up, refused the runner, or died."""


class BrokerRefused(BrokerFailed):
    """The broker runs and refuses the runner, or what its run needs: a matter of keys."""

    exit_code = ExitCode.USAGE


class BrokerFull(BrokerFailed):
    """A broker that others run has no room for the run, on its disk or in its log; the message says which."""


class DiskFull(BrokerFailed):
    """What a run has to write down does not fit on its disk any more; the message names the disk."""


class SupervisorFailed(CircuitRunError):
    """The supervisor did not come up or died."""


class Abandoned(SupervisorFailed):
    """A run that was interrupted twice and did not end."""

    exit_code = ExitCode.INTERRUPTED


class RecordingError(CircuitRunError):
    """A run folder that cannot be read back."""

    exit_code = ExitCode.USAGE


class OrderError(CircuitRunError):
    """A prescribed order of checkpoints that cannot happen; the message says who waits for what."""
