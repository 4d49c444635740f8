"""Values of environment variables that are kept out of everything that a run writes down.

Belongs here: which those are, and a scenario without them. Units get them all the same.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from runner.model import secrets
from runner.model.scenario.model import Scenario

REDACTED: Final = "(redacted)"
"""What stands in the place of a value."""


def redacted_in(scenario: Scenario, env: Mapping[str, str]) -> tuple[str, ...]:
    """The names in `env` whose values are kept out: those that look like secrets, and those that the scenario names."""
    return tuple(
        name
        for name, value in env.items()
        if value and (secrets.is_secret(name, value) or any(fnmatchcase(name, said) for said in scenario.redact))
    )


def redacted(scenario: Scenario) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario as it may be written down, and the names of the variables whose values are not in it."""
    found: set[str] = set()

    def without(env: Mapping[str, str]) -> dict[str, str]:
        secret = redacted_in(scenario, env)
        found.update(secret)
        return {name: REDACTED if name in secret else value for name, value in env.items()}

    clean = msgspec.structs.replace(
        scenario,
        env=without(scenario.env),
        units=tuple(msgspec.structs.replace(unit, env=without(unit.env)) for unit in scenario.units),
        hosts=tuple(msgspec.structs.replace(host, env=without(host.env)) for host in scenario.hosts),
    )
    return clean, tuple(sorted(found))
