"""The states of a unit and what is known of it, as values shared by the stages.

Belongs here: names and structures. The rules that move a unit from state to state are in
`runner/core/lifecycle`. Times are CLOCK_MONOTONIC of the runner's host in nanoseconds.
"""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Lifecycle of a unit: created -> starting -> ready -> running -> finished | failed | stopped."""

    CREATED = "created"
    """Declared; waits for its dependencies."""
    STARTING = "starting"
    """Its process runs, its ready probe has not fired."""
    READY = "ready"
    RUNNING = "running"
    """Every unit is ready."""
    FINISHED = "finished"
    """Ended by itself with an accepted exit code."""
    FAILED = "failed"
    """Did not start, did not get ready, or ended with another exit code or by a signal."""
    STOPPED = "stopped"
    """Ended by the runner."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come from the unit."""
        return self in (State.FINISHED, State.FAILED, State.STOPPED)


@dataclass(frozen=True, slots=True)
class FormerLife:
    """A life of a unit that was started again. `how` completes the sentence "<unit> ...": "was killed by SIGKILL"."""

    ended_ns: int
    how: str


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """What is known of one unit at one moment."""

    name: str
    state: State = State.CREATED
    host: str = "local"
    pid: int | None = None
    exit_code: int | None = None
    """Negative: killed by that signal (as in `subprocess`)."""
    why: str = ""
    """One sentence for a unit that failed, was stopped or still waits: "waits for worker", "exited with code 1"."""
    last_lines: tuple[str, ...] = ()
    """Last lines of its output, kept when the unit failed."""
    started_ns: int | None = None
    ready_ns: int | None = None
    ended_ns: int | None = None
    blocked_on: str = ""
    """What the unit waits for right now: "barrier go", "worker: ready"; empty: nothing."""
    events: int = 0
    """Events that its own code emitted."""
    last_step: str = ""
    last_stamp_ns: int | None = None
    former: tuple[FormerLife, ...] = ()
    """The lives before this one, the first one first."""
