"""How this machine and another one reach each other, as the system's ssh and its routes tell.

Belongs here: asking `ssh -G`, and which of our addresses a host can come back to. Must not start anything there.
"""

import socket
import subprocess
from collections.abc import Mapping
from typing import Any, Final

SSH: Final = (
    "ssh",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=20",
    "-o",
    "ServerAliveCountMax=3",
)
"""ssh as it is called here: it asks no questions, and what its user configured applies. A link that is down for a
minute ends it: it may have outlived its runner, and the lease is over long before."""
ASK_S: Final = 10.0
ANY_ADDRESS: Final = ("0.0.0.0", "*", "[::]")


def address_towards(destination: str) -> str:
    """The address by which the host that ssh calls `destination` can reach this one; "" if that cannot be found out, as
    behind a jump host."""
    said = _configured(destination)
    if said.get("proxyjump", "none") != "none" or said.get("proxycommand", "none") != "none":
        return ""
    try:
        found = socket.getaddrinfo(said["hostname"], 9, type=socket.SOCK_DGRAM)
    except (OSError, KeyError, ValueError):  # also what is no name of a host at all
        return ""
    return next(filter(None, (_towards(family, there) for family, _, _, _, there in found)), "")


def _towards(family: int, there: Any) -> str:
    """Our address on the way to another one; "" where there is none."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(there)  # sends nothing; chooses the route
            address: str = probe.getsockname()[0]
    except OSError:
        return ""
    return f"[{address}]" if ":" in address else address


def seen_from(endpoint: str, destination: str) -> str:
    """`endpoint` as the host that ssh calls `destination` has to write it: who listens on every address is reached by
    the one towards it, or by this host's name."""
    transport, _, address = endpoint.partition("://")
    host, _, port = address.rpartition(":")
    if host not in ANY_ADDRESS:
        return endpoint
    return f"{transport}://{(destination and address_towards(destination)) or socket.gethostname()}:{port}"


def _configured(destination: str) -> Mapping[str, str]:
    """What ssh makes of `destination`: its own configuration, word by word."""
    try:
        answer = subprocess.run(
            ["ssh", "-G", destination], capture_output=True, text=True, timeout=ASK_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.split(" ", 1) for line in answer.stdout.splitlines() if " " in line)
