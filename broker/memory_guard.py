"""Memory: how much the process has, and which connections to cut when it is too much.

ZeroMQ bounds a peer's queue in whole messages: one that never ends, or a reader that says it has read and has not,
grows without bound inside the library, where it cannot be seen whose it is. So now and then the size of the process is
checked. Beyond the limit connections are cut, the likeliest first. Nothing is lost by that: an honest peer comes
back and goes on where the log ends.

What remains: between two checks a fast peer can bring some hundred MiB, and while several do so in turn, honest peers
are cut with them. Where there is no /proc nothing is checked.

Belongs here: the size and the choice. Must not know messages, nor how a connection is cut.
"""

import fcntl
import struct
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from resource import getpagesize
from typing import Final

from broker.connections import Connection, Greeting

MAX_GROWTH_BYTES: Final = 512 * 1024 * 1024
"""How much larger than at its start the process may be, beside what belongs to connections."""
CONNECTION_BYTES: Final = 64 * 1024
"""What a connection with nothing under way costs at most."""
STEPS: Final = ("stuck", "strangers", "silent", "all")
"""What one check after another cuts, until it is enough: connections in the middle of something; those that have not
said HELLO; those over which nothing whole has come since the last check; all."""
SAMPLES: Final = 20
SAMPLE_S: Final = 0.0005
"""How often, and in what distance, is checked for bytes on their way: ZeroMQ reads as fast as most peers write."""


class MemoryGuard:
    """Which connections to cut, check by check."""

    def __init__(self) -> None:
        self._start_bytes = resident_bytes()
        self._step = 0

    def to_cut(self, connections: Sequence[Connection]) -> list[Connection]:
        """Those to cut now; none, as a rule."""
        limit = self._start_bytes + MAX_GROWTH_BYTES + CONNECTION_BYTES * len(connections)
        chosen: list[Connection] = []
        if self._above(limit):
            while not chosen and self._step < len(STEPS):
                chosen = choose(STEPS[self._step], connections)
                self._step += 1
            self._step %= len(STEPS)
        else:
            self._step = 0
        for connection in connections:
            connection.heard_before = connection.heard
        return chosen

    def _above(self, limit: int) -> bool:
        if resident_bytes() <= limit:
            return False
        give_back()
        return resident_bytes() > limit


def choose(step: str, connections: Sequence[Connection]) -> list[Connection]:
    """Those of `connections` that this one of STEPS means."""
    if step == "all":
        return list(connections)
    if step == "strangers":
        return [connection for connection in connections if connection.greeting is Greeting.AWAITED]
    silent = {connection.fd for connection in connections if connection.heard == connection.heard_before}
    if step == "silent":
        return [connection for connection in connections if connection.fd in silent]
    stuck: set[int] = set()
    for _ in range(SAMPLES):
        stuck |= {fd for fd in silent if _waiting(fd, termios.FIONREAD)}
        time.sleep(SAMPLE_S)
    return [
        connection for connection in connections if connection.fd in stuck or _waiting(connection.fd, termios.TIOCOUTQ)
    ]


def resident_bytes() -> int:
    """Memory that the process has; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * getpagesize()
    except OSError:
        return 0


def give_back() -> None:
    """Have the C library return what it keeps for later: what was cut off would count for ever."""
    import ctypes  # slow to load, and needed on bad days only

    with suppress(OSError, AttributeError):  # another C library than GNU's
        ctypes.CDLL(None).malloc_trim(0)


def _waiting(fd: int, which: int) -> bool:
    """Whether the system holds bytes for us to read (FIONREAD) or for the peer (TIOCOUTQ)."""
    with suppress(OSError):  # it has just hung up
        return struct.unpack("i", fcntl.ioctl(fd, which, bytes(4))) != (0,)
    return False
