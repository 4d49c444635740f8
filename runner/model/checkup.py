"""What an examination of a machine found: one value for each thing looked at.

Belongs here: the nouns that judging (`core/doctor`) and showing share. Must not know how a machine is asked, nor how
anything looks on a screen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """What was found of one thing, as a level."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; the machine is fit all the same."""
    PROBLEM = "problem"
    """A run would fail there, or lose evidence."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """One thing that was looked at."""

    name: str
    """What was looked at, in one word: `python`, `clock`."""
    level: Level
    found: str
    """What was found, in a few words."""
    remedy: str = ""
    """What to do about it, as a sentence that may end in a colon; "" where it is well."""
    command: str = ""
    """What to type for that, ready to be copied; "" where there is nothing to type."""
    said: tuple[str, ...] = ()
    """Last words of the program that failed, line by line, as it wrote them."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One machine, and everything that was looked at there."""

    name: str
    checks: tuple[Checkup, ...]
    looked: bool = True
    """False: it cannot be looked at from here, so it is neither fit nor unfit."""

    @property
    def problems(self) -> int:
        """How many things stand in the way of a run."""
        return self._count(Level.PROBLEM)

    @property
    def notes(self) -> int:
        """How many things are worth knowing."""
        return self._count(Level.NOTE)

    @property
    def fit(self) -> bool:
        """Whether the machine was looked at and may take part in runs."""
        return self.looked and not self.problems

    def _count(self, level: Level) -> int:
        return sum(check.level is level for check in self.checks)


def as_json(machines: Iterable[Examined]) -> dict[str, object]:
    """The same for programs, schema 1; more fields may be added."""
    return {
        "schema": 1,
        "hosts": [
            {
                "name": machine.name,
                "examined": machine.looked,
                "fit": machine.fit,
                "checks": [
                    {
                        "name": check.name,
                        "level": str(check.level),
                        "found": check.found,
                        "remedy": check.remedy,
                        "command": check.command,
                        "said": list(check.said),
                    }
                    for check in machine.checks
                ],
            }
            for machine in machines
        ],
    }
