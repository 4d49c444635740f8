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

    def fetch(self, peer: Peer, fetch: m.Fetch) -> str:
        """Open or move the window of `peer`. Why there is no room for one more reader; "": there was. Runners have room
        beside the others."""
        if peer.identity not in self._peers:
            if why := self._why_not(peer):
                return why
            self._peers[peer.identity] = peer
            if peer.share is not None:
                peer.share.readers += 1
        peer.window = moved(peer.window, fetch)
        return ""

    def _why_not(self, peer: Peer) -> str:
        runner = peer.hello.role == "runner"
        if peer.share is not None and (why := peer.share.why_no_reader(runner=runner)):
            return why
        watchers = sum(other.hello.role != "runner" for other in self._peers.values())
        return CROWDED if not runner and watchers >= access.MAX_READERS else ""

    def leave(self, identity: bytes) -> None:
        """Harmless for a peer that is none."""
        peer = self._peers.pop(identity, None)
        if peer is not None and peer.share is not None:
            peer.share.readers -= 1

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
