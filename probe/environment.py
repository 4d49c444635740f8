"""The whole contract between the launcher of a unit and the unit: names of environment variables.

Belongs here: the names, and reading them into one value. Must not know what is done with them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BROKER: Final = "CIRCUIT_BROKER"
"""Endpoint of the broker: ipc:///run/user/1000/circuit-3f2a/bus, tcp://127.0.0.1:46269. Unset: probes are off."""
RUN: Final = "CIRCUIT_RUN"
"""Id of the run the unit takes part in."""
UNIT: Final = "CIRCUIT_UNIT"
"""Name of the unit."""
JOURNAL: Final = "CIRCUIT_JOURNAL"
"""Folder for the unit's journals; default: a private folder in the user's runtime directory."""
JOURNAL_BYTES: Final = "CIRCUIT_JOURNAL_BYTES"
"""How many bytes the journal of one incarnation may take; default: 256 MiB. What does not fit is lost, and counted."""
KEYS: Final = "CIRCUIT_KEYS"
"""The keys for a TCP broker: a file, or what stands in one (see probe/keys.py)."""
MARKS: Final = "CIRCUIT_MARKS"
"""The inherited descriptor of the file in which a process says that it can keep no journal (see probe/marks.py)."""
DISABLED: Final = "CIRCUIT_DISABLED"
"""Set to anything but "" or "0": every probe is a no-op, whatever else is set."""


OWN: Final = (BROKER, RUN, UNIT, JOURNAL, KEYS, MARKS)
"""What makes a process part of a run."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the launcher has set for this process. `broker` is "" when there is none."""

    broker: str
    run: str
    unit: str
    journal: str
    keys: str
    disabled: bool
    journal_bytes: str = ""
    """As it was written; `probe.journal.bound` understands it."""
    marks: str = ""

    @property
    def enabled(self) -> bool:
        """Whether probes should do anything at all."""
        return bool(self.broker) and not self.disabled


def apart(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without what may make a process part of a run."""
    return {name: value for name, value in environ.items() if name not in OWN}


def read(environ: Mapping[str, str] | None = None) -> Environment:
    """Read the variables from `environ` (default: `os.environ`)."""
    source = os.environ if environ is None else environ
    return Environment(
        broker=source.get(BROKER, ""),
        run=source.get(RUN, ""),
        unit=source.get(UNIT, ""),
        journal=source.get(JOURNAL, ""),
        keys=source.get(KEYS, ""),
        disabled=source.get(DISABLED, "") not in ("", "0"),
        journal_bytes=source.get(JOURNAL_BYTES, ""),
        marks=source.get(MARKS, ""),
    )
