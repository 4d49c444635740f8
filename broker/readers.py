"""Readers: who is sent the log of its run, and how far.

Belongs here: whose turn it is and what comes next. Must not know sockets: what is sent goes through a function.
"""

from collections.abc import Callable
from typing import Final

from broker import access
from broker.errors import LogError
from broker.frames import Sent
from broker.peer import Peer, moved, next_slice
from probe import message as m

Send = Callable[[bytes, m.Message, bytes], Sent]
"""Gives a message with a body to the peer with this routing id, if its queue has room."""
CROWDED: Final = f"{access.MAX_READERS} readers fetch already; come back later"


class Readers:
    """Those who have a window."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._peers: dict[bytes, Peer] = {}

    def fetch(self, peer: Peer, fetch: m.Fetch) -> bool:
        """Open or move the window of `peer`. Whether there was room for one more reader; a runner always has it."""
        crowded = peer.hello.role != "runner" and len(self._peers) >= access.MAX_READERS
        if peer.identity not in self._peers and crowded:
            return False
        peer.window = moved(peer.window, fetch)
        self._peers[peer.identity] = peer
        return True

    def leave(self, identity: bytes) -> None:
        """Harmless for whoever is none."""
        self._peers.pop(identity, None)

    def push(self) -> tuple[bool, bool]:
        """One slice to every reader that may have one. Whether there is more to send, and whether a queue is full."""
        more = full = False
        for peer in list(self._peers.values()):
            window, source = peer.window, peer.run.log
            assert window is not None
            try:
                slice_ = next_slice(window, source)
            except LogError as error:
                self.leave(peer.identity)
                self._send(peer.identity, m.Error(str(error)), b"")
                continue
            if not slice_ and not window.asked:
                continue
            sent = self._send(peer.identity, m.Records(window.sent, source.end), slice_)
            if sent is Sent.YES:
                window.sent += len(slice_)
                window.asked = False
                more |= window.sent < min(window.limit, source.end)
            full |= sent is Sent.FULL
        return more, full
