"""The socket: one thread, one ROUTER port, one loop that takes messages in groups, keeps them, and answers.

    drain     everything that has arrived, up to a bound; evidence goes to its run, questions are answered
    write     each run's group with one write
    push      RECORDS to readers whose window is open, ACKs to units

Belongs here: who has said HELLO, and what is sent to whom. Must not look into bodies. Nothing here waits for a peer:
one that does not read is left out until it does, and costs no more than its window and a bounded queue.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import zmq

from broker import access
from broker.admission import (
    BEHIND,
    DEAF,
    DEAF_S,
    FULL_HOUSE,
    MALFORMED,
    NO_HELLO,
    NOT_ITS_CLOCK,
    NOT_ITS_KEY,
    NOT_ITS_ROLE,
    OVER_QUOTA,
    REVOKED,
    SHUT_OUT,
    STOPPED,
    TOO_MUCH,
    TWO_HELLOS,
    Refusal,
    admit,
    check_size,
    let_in,
    name_of,
)
from broker.answers import TOO_FAST, Answers
from broker.connections import Connection, Connections
from broker.errors import BrokerError, LogDiskFull, NoRoom, OverQuota
from broker.frames import MAX_FRAMES, Sent, received, send
from broker.idle_agents import IdleAgent, IdleAgents, welcome
from broker.incidents import Incidents
from broker.memory_guard import MemoryGuard
from broker.orders import Orders
from broker.peer import Peer
from broker.peers import PeerRegistry
from broker.readers import CROWDED, Readers
from broker.run import PUBLIC_FRAMES, ProtocolViolation, Receipt, Run
from broker.runs import REST_S, Runs, Stopped
from probe import message as m
from probe import wire
from probe.clock import boot_id, monotonic, monotonic_ns
from probe.errors import WireError

GROUP_MESSAGES: Final = 2000
GROUP_BYTES: Final = 4 * 1024 * 1024
"""A group is what is written at once, so these bound how long an acknowledgement takes."""
RETRY_MS: Final = 10
"""A peer whose queue is full is tried again after this time; ZeroMQ does not say when a ROUTER may send again."""
CHECK_S: Final = 1.0
"""How often at most a crowded broker checks which peers have left, and how often keys and the disk are checked."""
LAST_WORDS_S: Final = 5.0
"""How long what a peer said before it left may lie unread."""


class Relay:
    """What the loop knows; `step` is one turn of it."""

    def __init__(self, socket: zmq.Socket[bytes], runs: Runs, connections: Connections) -> None:
        self._socket = socket
        self._runs = runs
        self._connections = connections
        self._memory_guard = MemoryGuard()
        self._peers = PeerRegistry()
        self._idle = IdleAgents(connections)
        self._readers = Readers(self._send)
        self._orders = Orders(self._peers, self._send_frames)
        self._answers = Answers(self._peers, self._send)
        self._asked: list[tuple[Peer, int, int]] = []
        """PINGs of this group: of whom, their stamp, ours."""
        self._strangers: Counter[str] = Counter()
        """Counted for peers that belong to no run."""
        self._full: dict[bytes, float] = {}
        """Whose queue is full, since when."""
        self._probed_s = self._checked_s = -CHECK_S

    def step(self, limit: int = GROUP_MESSAGES) -> int | None:
        """Take one group of at most `limit` messages, write it, push. Gives the time in ms after which to come again
        even if nothing arrives (None: no need).

        Raises LogError where the disk refuses the only run: nothing of this group has been acknowledged then.
        """
        busy = self._drain(limit)
        for stopped in self._runs.write():
            self._end_run(stopped)
        more, full = self._readers.push()
        full |= self._answers.tell()
        full |= self._orders.pass_on(self._runs.all())
        full |= self._idle.invite(self._runs, self._peers, self._send)
        self._answer_pings()
        if busy or more:
            return 0
        return RETRY_MS if full else None

    def no_units_left(self) -> bool:
        """Whether no unit or supervisor is connected. One that has said FINAL leaves when it has read the ACK, which
        it might never do if we left first."""
        units = [peer for peer in self._peers if peer.left_s is None and peer.account is not None]
        return not [peer for peer in units if self._probe_peer(peer) is not Sent.GONE]

    def housekeep(self) -> None:
        """Deal with peers that have left, do not read, have no key any more, or take too much. A few times a second."""
        now = monotonic()
        self._connections.tidy()
        for identity in self._connections.hung_up():
            self._hang_up(identity)
        for peer in [peer for peer in self._peers if peer.left_s and now - peer.left_s > LAST_WORDS_S]:
            self._forget(peer)
        for identity in [identity for identity, since_s in self._full.items() if now - since_s > DEAF_S]:
            deaf = self._peers.find(identity)
            if deaf is not None and self._probe_peer(deaf) is Sent.FULL:
                self._count_incident(deaf, None, DEAF)
                self._full[identity] = math.inf
        for peer in self._orders.too_far_behind():  # it comes back, and asks again for what it still wants to know
            self._count_incident(peer, None, BEHIND)
            self._connections.cut(peer.connection)
            self._hang_up(peer.identity)
        if now - self._checked_s > CHECK_S:
            self._runs.housekeep(now - self._checked_s)
            self._checked_s = now
            self._check_keys()
            self._runs.rest(REST_S)
        for connection in self._memory_guard.to_cut(self._connections.present):
            found = self._peers.find(connection.identity)
            (found.run if found else self._connections).incidents.count(
                found.name if found else connection.place, TOO_MUCH
            )
            self._connections.cut(connection)

    # --- in ---

    def _drain(self, limit: int) -> bool:
        size = 0
        for count in range(limit):
            try:
                identity, frames, last = received(self._socket)
            except zmq.Again:
                return count > 0
            self._receive(identity, frames, last)
            size += sum(map(len, frames))
            if size > GROUP_BYTES:
                break
        return True

    def _receive(self, identity: bytes, frames: Sequence[bytes], last: zmq.Frame) -> None:
        peer = self._peers.find(identity)
        known = peer or self._idle.find(identity)
        if known is not None:
            known.connection.heard += 1
        try:
            if len(frames) > MAX_FRAMES:
                raise ProtocolViolation(f"a message has at most {MAX_FRAMES} frames, this one more")
            message, _ = wire.decode(frames[:PUBLIC_FRAMES])
            if len(frames) > PUBLIC_FRAMES and not isinstance(message, m.Command):
                raise ProtocolViolation(f"a message has at most {PUBLIC_FRAMES} frames, this one more")
            if isinstance(known, IdleAgent):
                self._answer_agent(known, message, last)
            elif isinstance(message, m.Hello):
                self._hello(identity, message, frames, last)
            elif peer is None:
                self._count_incident(None, last, NO_HELLO)
                self._send(identity, m.Error("no HELLO has come on this connection", stranger=True))
            elif why := access.why_not_said(message, peer.hello.role):
                self._count_incident(peer, last, NOT_ITS_ROLE)
                self._send(identity, m.Error(why))
            else:
                self._handle(peer, message, frames)
        except (WireError, ProtocolViolation) as error:
            self._count_incident(peer, last, MALFORMED)
            self._send(identity, m.Error(str(error), stranger=known is None))

    def _count_incident(self, peer: Peer | None, frame: zmq.Frame | None, what: str) -> None:
        """Count it: for the peer, or for a stranger who is known by `frame` alone."""
        counters = peer.run.counters if peer else self._strangers
        if what == MALFORMED:
            counters["malformed"] += 1
        elif what not in (DEAF, BEHIND):
            counters["refused"] += 1
        if peer is not None:
            peer.run.incidents.count(peer.name, what)
        elif frame is not None:
            self._connections.incidents.count(name_of(frame, self._connections), what)

    def _handle(self, peer: Peer, message: m.Message, frames: Sequence[bytes]) -> None:
        match message:
            case m.Events() if message.watermark_ns > monotonic_ns() and peer.host in ("", boot_id()):
                self._doubt(peer, message)
            case m.Events() | m.Gap() | m.Final():
                if self._answers.takes(peer, message):
                    reply = peer.run.take(peer.hello.unit, peer.hello.incarnation, message, frames)
                    self._answers.owe(peer.identity, reply)
                    self._answers.spend(peer, message.count if isinstance(message, m.Events) else 0, frames)
            case m.Fetch():
                if why := self._readers.fetch(peer, message):
                    self._count_incident(peer, None, FULL_HOUSE if why == CROWDED else OVER_QUOTA)
                    self._send(peer.identity, m.Error(why))
            case m.Command() | m.Names() if peer.share and peer.share.is_exhausted(monotonic()):
                self._cut_for_quota(peer.connection, peer.name, peer.run.incidents)
            case m.Command():
                self._orders.take(peer.run, message.to, frames)
                self._answers.spend(peer, 0, frames)
            case m.Names():
                self._answers.spend(peer, 0, frames)
                if why := peer.run.name_owners(message):
                    self._turn_away(peer, why)
            case m.Issue():
                self._issue(peer, message)
            case m.Ping(sent_ns):
                self._asked.append((peer, sent_ns, monotonic_ns()))

    def _doubt(self, peer: Peer, events: m.Events) -> None:
        """Events from the future of our own clock prove nothing about when they happened: they are lost."""
        if NOT_ITS_CLOCK not in peer.warned_of:
            peer.warned_of.add(NOT_ITS_CLOCK)
            ahead_s = (events.watermark_ns - monotonic_ns()) / 1e9
            why = f"the watermark is {ahead_s:.0f} s ahead of CLOCK_MONOTONIC of this host, on which you say you are"
            self._send(peer.identity, m.Error(f"{why}; what is stamped by another clock is not kept"))
        self._count_incident(peer, None, NOT_ITS_CLOCK)
        if events.count > 0:
            gap = m.Gap(events.first, events.first + events.count - 1, NOT_ITS_CLOCK)
            self._handle(peer, gap, [bytes(frame) for frame in wire.encode(gap)])

    def _issue(self, peer: Peer, issue: m.Issue) -> None:
        """A runner lets in a peer with the key that it has made. Where there are no keys, none is needed."""
        try:
            let_in(issue, peer, self._connections)
        except BrokerError as error:
            self._turn_away(peer, str(error))

    def _turn_away(self, peer: Peer, why: str) -> None:
        """A runner that cannot have what its run needs."""
        self._count_incident(peer, None, NOT_ITS_KEY)
        self._send(peer.identity, m.Refused(why))
        self._connections.dismiss(peer.connection)

    def _hello(self, identity: bytes, hello: m.Hello, frames: Sequence[bytes], last: zmq.Frame) -> None:
        if peer := self._peers.find(identity):
            self._hello_again(peer, hello)
            return
        try:
            check_size(frames, self._connections)
            share = self._connections.share(last)
            if share and share.is_exhausted(monotonic()):
                name = name_of(last, self._connections, hello.unit or hello.role)
                self._cut_for_quota(self._connections.greeted(last, identity), name, self._connections.incidents)
                return
            self._make_room()
            if access.is_idle(hello):
                if first := self._idle.called(hello.unit):
                    self._send(first.identity, welcome())  # has it left? see `_probe_peer`
                self._idle.admit(identity, hello, last)
                self._send(identity, welcome())
                return
            peer = admit(identity, hello, frames, last, self._runs, self._connections)
        except BrokerError as error:
            full = OVER_QUOTA if isinstance(error, OverQuota) else FULL_HOUSE
            self._count_incident(None, last, error.what if isinstance(error, Refusal) else full)
            self._send(identity, m.Refused(str(error), full=isinstance(error, NoRoom | LogDiskFull)))
            return
        self._peers.enter(peer)
        self._answers.owe(identity, Receipt.WELCOME)
        self._answers.spend(peer, 0, frames)

    def _hello_again(self, peer: Peer, hello: m.Hello) -> None:
        """On a connection that has said it: harmless for the same incarnation, and nothing new."""
        known = peer.hello
        if (hello.role, hello.run or known.run) == (known.role, known.run) and (
            (hello.unit, hello.incarnation) == (known.unit, known.incarnation)
        ):
            self._answers.owe(peer.identity, Receipt.WELCOME)
            return
        self._count_incident(peer, None, TWO_HELLOS)
        self._send(peer.identity, m.Refused("this connection has said HELLO for another peer; open one for each"))

    def _statistics(self, run: Run) -> dict[str, int]:
        who = self._peers.of(run.name)
        return {**(Counter(run.statistics()) + self._strangers), "peers": who.present, "runners": who.runners}

    # --- out ---

    def _answer_agent(self, agent: IdleAgent, message: m.Message, last: zmq.Frame) -> None:
        answer = self._idle.answer(agent, message)
        if answer is None:
            self._count_incident(None, last, NOT_ITS_ROLE)
            answer = m.Error("an agent that waits for an invitation says HELLO and PING, and nothing else")
        self._send(agent.identity, answer)

    def _answer_pings(self) -> None:
        """At the end of the turn, so that a PONG also says: what you said before is written."""
        known: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
        for peer, sent_ns, received_ns in self._asked:
            run = peer.run
            if run.name not in known:
                known[run.name] = self._statistics(run), run.incidents.merged(self._connections.incidents)
            self._send(peer.identity, m.Pong(sent_ns, received_ns, monotonic_ns(), *known[run.name]))
        self._asked.clear()

    def _send(self, identity: bytes, message: m.Message, *body: bytes) -> Sent:
        return self._send_frames(identity, wire.encode(message, *body))

    def _send_frames(self, identity: bytes, frames: Sequence[bytes | memoryview]) -> Sent:
        sent = send(self._socket, identity, frames)
        if sent is Sent.GONE:
            self._hang_up(identity)
        elif sent is Sent.FULL and self._peers.find(identity):
            self._full.setdefault(identity, monotonic())
        elif sent is Sent.YES and self._full:
            self._full.pop(identity, None)
        return sent

    def _probe_peer(self, peer: Peer) -> Sent:
        """ZeroMQ does not say that a peer has left until one writes to it; so write something it knows already."""
        end = peer.run.log.end
        return self._send(peer.identity, m.Ack(peer.account.next_seq) if peer.account else m.Records(end, end))

    # --- who is there ---

    def _hang_up(self, identity: bytes) -> None:
        """It has left: nothing is sent to it any more. What it said before may still come."""
        self._idle.leave(identity)
        self._readers.leave(identity)
        self._answers.leave(identity)
        self._full.pop(identity, None)
        if peer := self._peers.find(identity):
            self._peers.leave(peer, monotonic())
            self._orders.leave(peer)

    def _forget(self, peer: Peer) -> None:
        self._hang_up(peer.identity)
        self._peers.forget(peer)

    def _end_run(self, stopped: Stopped) -> None:
        """Dismiss the peers of a run that is stopped, or stopped for their key."""
        run, why, key = stopped
        if key:
            run.incidents.count(key, SHUT_OUT)
        else:
            self._connections.incidents.count(run.maker or "a run", STOPPED)
        for peer in [peer for peer in self._peers if peer.run is run]:
            if not key or (peer.share is not None and peer.share.key == key):
                self._send(peer.identity, m.Refused(why, full=True))
                self._connections.dismiss(peer.connection)
                self._forget(peer)

    def _cut_for_quota(self, connection: Connection, name: str, incidents: Incidents) -> None:
        """Its key is so far over its quota that not even this is taken. It comes back, and says again what it wants."""
        incidents.count(name, TOO_FAST)
        self._connections.cut(connection)

    def _check_keys(self) -> None:
        """Dismiss peers whose key is not valid any more."""
        self._connections.issued.expire(lambda run: self._peers.of(run).runners > 0)
        for who in (*self._peers, *self._idle):
            if who.key is None or (isinstance(who, Peer) and who.left_s is not None):
                continue
            grant = self._connections.grant(who.key)
            if grant is not None and not grant.revoked:
                continue
            self._send(who.identity, m.Refused(access.why_not_granted(who.hello, grant) or ""))
            self._connections.dismiss(who.connection)
            if isinstance(who, Peer):
                self._count_incident(who, None, REVOKED)
                self._withdraw(who)
                self._forget(who)
            else:
                self._connections.incidents.count(who.name, REVOKED)
                self._idle.leave(who.identity)

    def _withdraw(self, peer: Peer) -> None:
        """What a key that is revoked has let in goes with it."""
        if peer.hello.role == "runner" and self._peers.of(peer.run.name).runners <= 1:
            self._connections.issued.withdraw(peer.run.name)
        elif peer.hello.role == "agent":
            self._connections.issued.withdraw(peer.run.name, access.units_of(peer.hello.unit))

    def _make_room(self) -> None:
        """Before a peer is refused, see which ones have left. Raises BrokerError if they are all there."""
        if len(self._peers) + len(self._idle) < access.MAX_PEERS:
            return
        if monotonic() - self._probed_s > CHECK_S:
            self._probed_s = monotonic()
            for peer in self._peers:
                if peer.left_s is not None or self._probe_peer(peer) is Sent.GONE:
                    self._forget(peer)
        if len(self._peers) + len(self._idle) >= access.MAX_PEERS:
            raise Refusal(FULL_HOUSE, f"this broker has {access.MAX_PEERS} connections already; start another one")
