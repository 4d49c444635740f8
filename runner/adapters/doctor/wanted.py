"""Which versions there should be on every machine of a run: those that the installed package asks for here.

Belongs here: reading our own package's metadata. Must not know other machines.
"""

import re
from importlib import metadata

from runner.core.doctor.judge import Wanted

_PACKAGE = "circuit-run"
_AT_LEAST = re.compile(r"([\w.-]+)\s*>=\s*([\d.]+)\s*(?:,[^;]*)?$")


def wanted() -> Wanted:
    """What is installed here, and what it requires."""
    try:
        python = metadata.metadata(_PACKAGE)["Requires-Python"]
        needs = [match for need in metadata.requires(_PACKAGE) or () if (match := _AT_LEAST.match(need))]
    except metadata.PackageNotFoundError:  # a checkout that was not installed
        return Wanted(circuit_run="", python=">=3.11", packages={})
    return Wanted(
        circuit_run=metadata.version(_PACKAGE), python=python, packages={match[1]: match[2] for match in needs}
    )
