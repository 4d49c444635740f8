"""Answers: which peers hear where the log stands, and which wait for that because their key is over its quota.

ACK and WELCOME are due as soon as what was said is written. To wait for them is how a sender is slowed down: without
them it has no credit. What is left lying of a key in debt is not lost: WELCOME has its sender go back, later.

Belongs here: when a sender is answered. Must not know sockets: what is sent goes through a function.
"""

from collections.abc import Callable, Sequence
from typing import Final

from broker.frames import Sent
from broker.peer import Peer
from broker.peers import PeerRegistry
from broker.run import Receipt
from probe import message as m
from probe.clock import boot_id, monotonic, monotonic_ns

CREDIT_BYTES: Final = 8 * 1024 * 1024
"""How many bytes of EVENTS a unit may have on the way."""
TOO_FAST: Final = "has to wait, its key is over its quota"
"""What is counted (see `incidents`)."""


class Answers:
    """`send` gives a message to the peer with this routing id."""

    def __init__(self, peers: PeerRegistry, send: Callable[[bytes, m.Message], Sent]) -> None:
        self._peers = peers
        self._send = send
        self._due: dict[bytes, Receipt] = {}
        """Which peers hear where the log stands as soon as the group is written, and how."""
        self._left_lying: set[bytes] = set()
        """Of them, those who are to send again what was not taken."""

    def owe(self, identity: bytes, reply: Receipt) -> None:
        """It is to hear so."""
        if reply is Receipt.WELCOME or (reply is Receipt.ACK and identity not in self._due):
            self._due[identity] = reply

    def leave(self, identity: bytes) -> None:
        """Harmless for a peer that is due nothing."""
        self._due.pop(identity, None)
        self._left_lying.discard(identity)

    def takes(self, peer: Peer, message: m.Message) -> bool:
        """Whether what a peer says is taken. Else it is left lying, and has to be sent again: what can be."""
        if peer.share is None or not peer.share.is_shut or not isinstance(message, m.Events | m.Gap):
            return True
        if (isinstance(message, m.Events) and not message.count) or not peer.share.owes(monotonic()):
            return True
        self._due[peer.identity] = Receipt.WELCOME
        self._left_lying.add(peer.identity)
        self._tell(peer)
        return False

    def spend(self, peer: Peer, events: int, frames: Sequence[bytes]) -> None:
        """What a peer has said counts against the quota of its key."""
        share = peer.share
        if share is None:
            return
        size = sum(map(len, frames))
        peer.run.note(share.key, size)
        if share.spend(events, size) and share.owes(monotonic()):
            self._tell(peer)

    def tell(self) -> bool:
        """WELCOME and ACK to whom they are due. Whether some still are: a queue is full, or a key has to wait."""
        still_due = {}
        for identity, reply in list(self._due.items()):
            peer = self._peers.find(identity)
            assert peer is not None, "who has left is due nothing"
            if self._has_to_wait(peer) or self._say(peer, reply) is Sent.FULL:
                if self._peers.find(identity) is not None:
                    still_due[identity] = reply
            else:
                self._left_lying.discard(identity)
        self._due = still_due
        return bool(still_due)

    def _say(self, peer: Peer, reply: Receipt) -> Sent:
        next_seq = peer.account.next_seq if peer.account else 1
        if reply is Receipt.ACK:
            return self._send(peer.identity, m.Ack(next_seq))
        clock = monotonic_ns(), boot_id(), self._peers.to_measure(peer)
        return self._send(peer.identity, m.Welcome(m.VERSION, next_seq, CREDIT_BYTES, *clock))

    def _has_to_wait(self, peer: Peer) -> bool:
        share = peer.share
        lies = peer.identity in self._left_lying
        if share is None or peer.account is None or not (share.in_debt or lies):
            return False
        now_s = monotonic()
        if share.owes(now_s):
            return True
        return lies and not share.has_turn(now_s, CREDIT_BYTES)

    def _tell(self, peer: Peer) -> None:
        """Say once on a connection that its key is over its quota, and count it whenever it comes to be so. A peer
        that publishes the journal of a process that has ended takes ERROR for the end, and is not warned."""
        assert peer.share is not None
        if peer.share.is_news():
            peer.run.incidents.count(peer.name, TOO_FAST)
        if TOO_FAST not in peer.warned_of and peer.account is not None and not peer.hello.recovered:
            peer.warned_of.add(TOO_FAST)
            self._send(peer.identity, m.Error(peer.share.why_over()))
