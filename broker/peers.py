"""Who is there: peers by connection, by run and by name, counted as they come and go.

Belongs here: everything that is asked about peers in every turn, so that the answer costs the same however many there
are. Must not know sockets, nor what is sent to whom.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from broker.peer import Peer
from probe.clock import boot_id


@dataclass(slots=True)
class Attendance:
    """Who takes part in one run."""

    present: int = 0
    """Connections that are there."""
    runners: int = 0
    """How many of them are runners."""
    agents: Counter[str] = field(default_factory=Counter)
    """Boot id of a host -> supervisors of it that are there."""
    units: dict[str, dict[int, bytes]] = field(default_factory=dict)
    """Unit -> incarnation -> its newest connection."""


class PeerRegistry:
    """All peers. One has entered when its HELLO was taken, has left when its connection ended, and is forgotten later:
    what it said before it left may still come."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Peer] = {}
        self._runs: dict[str, Attendance] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """All that are not forgotten; they may be forgotten meanwhile."""
        return iter(list(self._peers.values()))

    def find(self, identity: bytes) -> Peer | None:
        """The peer with this routing id."""
        return self._peers.get(identity)

    def of(self, run: str) -> Attendance:
        """Who takes part in a run; to be read, not to be changed."""
        return self._runs.get(run) or Attendance()

    def connections(self, run: str, unit: str) -> list[bytes]:
        """The newest connection of each incarnation of a unit that is there."""
        return list(self.of(run).units.get(unit, {}).values())

    def to_measure(self, peer: Peer) -> bool:
        """Whether the peer has to measure its clock: it is not ours, and no supervisor there does so already."""
        if not peer.host or peer.host == boot_id() or peer.hello.role not in ("unit", "agent"):
            return False
        return peer.hello.role == "agent" or not self.of(peer.run.name).agents[peer.host]

    def enter(self, peer: Peer) -> None:
        """Its HELLO was taken."""
        self._peers[peer.identity] = peer
        run = self._runs.setdefault(peer.run.name, Attendance())
        peer.run.users += 1
        if peer.share is not None:
            peer.share.connections += 1
        self._count(run, peer, 1)
        if peer.account is not None:
            run.units.setdefault(peer.hello.unit, {})[peer.hello.incarnation] = peer.identity

    def leave(self, peer: Peer, now_s: float) -> None:
        """Its connection has ended. Harmless when repeated."""
        if peer.left_s is not None:
            return
        peer.left_s = now_s
        if peer.share is not None:
            peer.share.connections -= 1
        run = self._runs[peer.run.name]
        self._count(run, peer, -1)
        connections = run.units.get(peer.hello.unit, {})
        if connections.get(peer.hello.incarnation) == peer.identity:
            del connections[peer.hello.incarnation]
            if not connections:
                del run.units[peer.hello.unit]

    def forget(self, peer: Peer) -> None:
        """Nothing can come of it any more; it has left."""
        if self._peers.pop(peer.identity, None) is None:
            return
        peer.run.users -= 1
        if not peer.run.users:
            del self._runs[peer.run.name]

    def _count(self, run: Attendance, peer: Peer, by: int) -> None:
        run.present += by
        if peer.hello.role == "runner":
            run.runners += by
        elif peer.hello.role == "agent":
            run.agents[peer.host] += by
            if not run.agents[peer.host]:
                del run.agents[peer.host]
