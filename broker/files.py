"""Open files: each connection is one, and the system bounds how many a process may have.

When the bound is reached nevertheless, ZeroMQ goes on asking the system for the next connection, in vain, without a
pause, and says so each time; so it must not be reached: connections beyond the limit are cut before (see
`connections`).

Belongs here: how many connections there is room for, and the words about it. Must not know sockets.
"""

import resource
from contextlib import suppress
from typing import Final

from broker.access import MAX_PEERS, MAX_RUNS

CONNECTION_FILES: Final = 1
"""What a connection costs in the broker. (In a unit it is three: ZeroMQ wakes each socket by a file of its own.)"""
RESERVED: Final = 48
"""What the broker needs for itself, and for connections that come while it is busy with others."""
SENSIBLE: Final = 4096
"""A limit below this one is worth a word."""
_REMEDY: Final = "raise it with `ulimit -n`, or LimitNOFILE= in its unit file"


def allow_many() -> int:
    """Raise the limit of open files as far as the system lets us; gives it. The usual one of 1,024 is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return soft if soft != resource.RLIM_INFINITY else 1 << 30


def room(limit: int, *, many_runs: bool) -> int:
    """How many connections fit under this limit. A broker of `many_runs` has a file for each of them, too."""
    return max(0, (limit - RESERVED - (logs(limit) if many_runs else 1)) // CONNECTION_FILES)


def logs(limit: int) -> int:
    """How many runs may be open at a time under this limit, in a broker of many."""
    return min(MAX_RUNS, limit // 4)


def why_not_enough(expected: int, limit: int, *, many_runs: bool) -> str | None:
    """Why so many peers do not fit, in words that name the remedy; None: they do."""
    if expected > MAX_PEERS:
        return f"{expected} peers are expected, and a broker holds at most {MAX_PEERS}; spread them over several"
    if expected > room(limit, many_runs=many_runs):
        return f"{expected} peers are expected, and {_held(limit, many_runs)}"
    return None


def warning(limit: int, *, many_runs: bool) -> str | None:
    """What is to be said about a limit that is lower than usual; None: nothing."""
    return _held(limit, many_runs) if limit < SENSIBLE else None


def _held(limit: int, many_runs: bool) -> str:
    fit = min(MAX_PEERS, room(limit, many_runs=many_runs))
    return f"this broker can hold about {fit} connections: its limit of open files is {limit}; {_REMEDY}"
