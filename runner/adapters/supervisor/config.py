"""What a supervisor on another host has to know before it can reach the bus: one line of JSON.

Belongs here: that value and its text. The process that starts the supervisor (ssh, or an agent) writes it to its
standard input."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

from broker.access import is_run_id
from runner.model.errors import UsageError


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """Where the run is and who the supervisor is in it."""

    broker: str
    """Endpoint, as it is reached from there."""
    run: str
    host: str
    """Name of the host in the scenario; the supervisor is the unit `@host`."""
    keys: str
    """Text of a file of keys; "" for a broker that wants none."""
    lease_s: float

    def text(self) -> str:
        """One line, with its end."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """What `text` made. Raises UsageError for anything else."""
        try:
            found = json.loads(line)
            values = {field.name: found[field.name] for field in fields(cls)}
            wrong = [
                name for name, value in values.items() if not isinstance(value, float if name == "lease_s" else str)
            ]
            if not wrong and not is_run_id(values["run"]):  # it becomes the name of a folder
                wrong = ["run"]
        except (ValueError, KeyError, TypeError, RecursionError):
            wrong = ["it"]
        if wrong:
            raise UsageError(f"expected one line of JSON on standard input, and {wrong[0]} is not as it should be")
        return cls(**values)
