"""Orders: COMMANDs on their way to whom they are for, in the order in which they stand in the log.

What a peer cannot take yet is not kept in memory: it is in the log, and its place there is noted. Belongs here: who
waits for which places. Must not look into bodies, nor know who may give orders.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from broker.frames import Sent
from broker.peer import Peer
from broker.peers import PeerRegistry
from broker.run import PUBLIC_FRAMES, Run
from probe import message as m
from probe import wire

MAX_BEHIND: Final = 65_536
"""So many may wait for one connection."""

_COMMAND, _NO_NAMES = (bytes(frame) for frame in wire.encode(m.Command()))
"""The frames in front of the body that is passed on: a thousand receivers need not read a thousand names each."""


class Orders:
    """`send` gives frames to the peer with a routing id."""

    def __init__(self, peers: PeerRegistry, send: Callable[[bytes, Sequence[bytes]], Sent]) -> None:
        self._peers = peers
        self._send = send
        self._new: list[tuple[Run, tuple[str, ...], tuple[bytes, ...], int]] = []
        """COMMANDs that are not passed on yet: for whom, the frames behind the header, and where in the log they will
        be."""
        self._behind: dict[bytes, Peer] = {}
        """Peers that could not take all that was passed on."""

    def take(self, run: Run, to: tuple[str, ...], frames: Sequence[bytes]) -> None:
        """A COMMAND has come; it is kept with the group, but for what in it is private."""
        place = run.ordered(frames)
        self._new.append((run, to, tuple(frames[2:]) or (b"",), place))
        if len(frames) > PUBLIC_FRAMES:
            run.private[place] = frames[PUBLIC_FRAMES]

    def pass_on(self, runs: Iterable[Run]) -> bool:
        """Send what is written. What a peer cannot take now waits, and all that comes after that waits behind it.
        Whether a queue is full."""
        for run in runs:
            for name in list(run.pending):
                self._hand_over(run, name)
        for run, to, rest, place in self._new:
            for name in to or list(self._peers.of(run.name).units):
                reached = [self._order(peer, rest, place) for peer in self._connected(run, name)]
                if True not in reached and not run.hold_for(name, (place,)):
                    run.counters["unroutable"] += 1
        self._new.clear()
        for peer in list(self._behind.values()):
            self._catch_up(peer)
        waited_for = {peer.run.name for peer in self._behind.values()}
        for run in runs:
            if run.private and not run.pending and run.name not in waited_for:
                run.private.clear()
        return bool(self._behind)

    def too_far_behind(self) -> list[Peer]:
        """Those for whom more waits than should."""
        return [peer for peer in self._behind.values() if len(peer.orders) > MAX_BEHIND]

    def leave(self, peer: Peer) -> None:
        """Its connection has ended. What a supervisor was still to get is kept until it comes back; a unit asks
        again."""
        self._behind.pop(peer.identity, None)
        if peer.orders and not peer.run.hold_for(peer.hello.unit, peer.orders):
            peer.run.counters["unroutable"] += len(peer.orders)
        peer.orders.clear()

    def _connected(self, run: Run, name: str) -> list[Peer]:
        """Every incarnation that is connected under `name`."""
        found = [self._peers.find(identity) for identity in self._peers.connections(run.name, name)]
        return [peer for peer in found if peer is not None]

    def _hand_over(self, run: Run, name: str) -> None:
        """To a supervisor that is there now what was kept for it."""
        if peers := self._connected(run, name):
            pending = run.pending.pop(name)
            for peer in peers:
                peer.orders.extend(pending)
                self._behind[peer.identity] = peer

    def _order(self, peer: Peer, rest: tuple[bytes, ...], place: int) -> bool:
        """Pass it on, or have it wait. Whether the peer is there."""
        if not peer.orders:
            sent = self._send(peer.identity, (_COMMAND, _NO_NAMES, *rest))
            if sent is not Sent.FULL:
                return sent is Sent.YES
        peer.orders.append(place)
        self._behind[peer.identity] = peer
        return True

    def _catch_up(self, peer: Peer) -> None:
        """Pass on what has waited, as much as the peer takes."""
        while peer.orders:
            place = peer.orders[0]
            private = [peer.run.private[place]] if place in peer.run.private else []
            frames = _COMMAND, _NO_NAMES, peer.run.order_at(place), *private
            if self._send(peer.identity, frames) is not Sent.YES:
                return
            peer.orders.popleft()
        self._behind.pop(peer.identity, None)
