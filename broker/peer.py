"""Peers: who has said HELLO on a connection, and the window of the log that a reader may be sent.

Belongs here: what is known of one peer, and the arithmetic of windows. Must not know sockets or other peers.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from broker import log
from broker.connections import Connection
from broker.ledger import Account
from broker.quotas import Share
from broker.run import Run
from probe import message as m

MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024
"""Largest credit of a FETCH that is honoured; a larger one is cut to it. All readers together have at most
`access.MAX_READERS` times as much."""
SLICE_BYTES: Final = 256 * 1024
"""Records per RECORDS frame; a single entry may be larger."""


@dataclass(slots=True)
class Window:
    """What a reader may be sent, in bytes of the log: from `began` (its last FETCH) to `limit`; `sent` is how far we
    are. `asked`: a FETCH is to be answered, if only with where the log ends."""

    began: int
    sent: int
    limit: int
    asked: bool = True


@dataclass(slots=True)
class Peer:
    """One connection that has said HELLO. It is one incarnation, and stays it."""

    identity: bytes
    hello: m.Hello
    run: Run
    account: Account | None
    """None: the peer only reads."""
    connection: Connection
    key: str | None = None
    """The public key it came in with."""
    name: str = ""
    """See `incidents.who`."""
    share: Share | None = None
    """What its key has of the broker; None: it has no key, and no quota."""
    host: str = ""
    """Boot id of its host, as it says."""
    window: Window | None = None
    warned_of: set[str] = field(default_factory=set)
    """What it did that it may not, and was warned of once."""
    orders: deque[int] = field(default_factory=deque)
    """Where in the log of its run the COMMANDs begin that it is to get, and could not take yet."""
    left_s: float | None = None
    """When it was seen to have left; what it said before that may still come."""


def moved(before: Window | None, fetch: m.Fetch) -> Window:
    """The window after a FETCH. One inside the window before says how far the reader is, and what was sent is not sent
    again. Any other is a reader that begins, or goes elsewhere."""
    offset = max(fetch.offset, log.START)
    sent = before.sent if before and before.began <= offset <= before.sent else offset
    return Window(offset, sent, offset + min(fetch.credit, MAX_WINDOW_BYTES))


def next_slice(window: Window, source: log.Log) -> bytes:
    """What may be sent next: whole entries that fit into what is left of the window, or one that fits into none."""
    left = window.limit - window.sent
    if left <= 0 or window.sent >= source.end:
        return b""
    slice_ = source.read(window.sent, min(SLICE_BYTES, left))
    if len(slice_) > left and window.sent > window.began:
        window.limit = window.sent  # it can have a window for itself
        return b""
    return slice_
