"""A process that was started without our variables by one that had them: its probes are off, and that was not meant.

Belongs here: reading the environments of a process and of those that started it, and where it writes to (Linux;
elsewhere nothing is known).
Asked once in a process, when its first probe finds no broker. Must not know what is done about it.
"""

import os
from typing import Final, NamedTuple

from probe import environment, handlers
from probe.environment import Environment

GENERATIONS: Final = 8
"""How far up the search goes."""

_asked = False


class Ancestor(NamedTuple):
    """The nearest process that had our variables: maybe this one itself, when it began."""

    pid: int
    settings: Environment


def with_settings() -> Ancestor | None:
    """The process that started us and had what we lack; None: there is none, or that was asked before, here or where we
    were forked."""
    global _asked
    if _asked:
        return None
    _asked = True
    pid = os.getpid()
    for _ in range(GENERATIONS):
        with handlers.suppressed(OSError, ValueError):
            settings = environment.read(_variables(pid))
            if settings.broker:
                return Ancestor(pid, settings) if settings.enabled else None
            if (pid := _parent(pid)) > 1:
                continue
        break
    return None


def unit_by_output(journals: str) -> str:
    """The unit into whose files this process writes, in the run that keeps its journals there; "": none. So is known
    who has lost its parents and was adopted by a supervisor."""
    units = os.path.join(os.path.dirname(os.path.realpath(journals)), "units")
    for fd in (2, 1):
        with handlers.suppressed(OSError):
            folder, name = os.path.split(os.readlink(f"/proc/self/fd/{fd}"))
            if folder == units and name.endswith((".out", ".err")):
                return name[: -len(".out")]
    return ""


def _variables(pid: int) -> dict[str, str]:
    """The environment that a process was started with. Raises OSError."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = os.fsdecode(file.read()).split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])
