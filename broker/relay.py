"""The socket: one thread, one ROUTER port, one loop that takes messages in groups, keeps them, and answers.

    drain     everything that has arrived, up to a bound; evidence goes to its run, questions are answered
    write     each run's group with one write
    push      RECORDS to readers whose window is open, ACKs to units

Belongs here: who is connected, and what is sent to whom. Must not look into bodies. Nothing here waits for a peer: one
that does not read is left out until it does, and costs no more than its window and a bounded queue.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import zmq

from broker import access, log
from broker.errors import BrokerError, LogError
from broker.ledger import Account
from broker.run import Nonsense, Reply, Run, Runs
from probe import message as m
from probe import wire
from probe.errors import WireError

CREDIT_BYTES: Final = 8 * 1024 * 1024
"""How many bytes of EVENTS a unit may have on the way."""
MAX_WINDOW_BYTES: Final = 64 * 1024 * 1024
"""Largest credit of a FETCH that is honoured; a larger one is cut to it."""
SLICE_BYTES: Final = 256 * 1024
"""Records per RECORDS frame; a single entry may be larger."""
GROUP_MESSAGES: Final = 2000
GROUP_BYTES: Final = 4 * 1024 * 1024
"""A group is what is written at once, so these bound how long an acknowledgement takes."""
RETRY_MS: Final = 10
"""A peer whose queue is full is tried again after this time; ZeroMQ does not say when a ROUTER may send again."""
_NOBLOCK: Final = int(zmq.NOBLOCK)
_NOBLOCK_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""As numbers, because combining the names takes longer than sending a frame."""
KNOCK_S: Final = 1.0
"""How often at most a crowded broker looks who has left."""


class Sent(Enum):
    """What became of a message to a peer."""

    YES = "yes"
    FULL = "full"
    GONE = "gone"


@dataclass(slots=True)
class Window:
    """What a reader may be sent, in bytes of the log: from `began` (its last FETCH) to `limit`; `sent` is how far we
    are. `asked`: a FETCH is to be answered, if only with where the log ends."""

    began: int
    sent: int
    limit: int
    asked: bool = True


_NOBODY: Final = bytes(wire.encode(m.Command())[1])
"""The header under which a COMMAND is passed on."""


@dataclass(slots=True)
class Peer:
    """One connection that has said HELLO."""

    identity: bytes
    hello: m.Hello
    run: Run
    account: Account | None
    """None: the peer only reads."""
    window: Window | None = None


class Relay:
    """What the loop knows; `step` is one turn of it."""

    def __init__(self, socket: zmq.Socket[bytes], runs: Runs) -> None:
        self._socket = socket
        self._runs = runs
        self._peers: dict[bytes, Peer] = {}
        self._readers: dict[bytes, Peer] = {}
        """Those that have a window."""
        self._units: dict[tuple[str, str], dict[int, bytes]] = {}
        """(run, unit) -> incarnation -> its newest connection."""
        self._due: dict[bytes, Reply] = {}
        """Who is told where the log stands as soon as the group is written, and how."""
        self._asked: list[tuple[Peer, int, int]] = []
        """PINGs of this group: of whom, their stamp, ours."""
        self._strangers: Counter[str] = Counter()
        """Counted for peers that belong to no run."""
        self._knocked_s = -KNOCK_S

    def step(self, limit: int = GROUP_MESSAGES) -> int | None:
        """Take one group of at most `limit` messages, write it, push. Gives the time in ms after which to come again
        even if nothing arrives (None: no need).

        Raises LogError when the disk refuses: nothing of this group has been acknowledged then.
        """
        busy = self._drain(limit)
        for run in self._runs.all():
            run.flush()
        more, full = self._push_records()
        full |= self._tell_senders()
        self._answer_pings()
        if busy or more:
            return 0
        return RETRY_MS if full else None

    def deserted(self) -> bool:
        """Whether no unit or supervisor is connected that has not said FINAL."""
        speakers = [peer for peer in self._peers.values() if peer.account is not None and peer.account.final is None]
        return not [peer for peer in speakers if self._knock(peer) is not Sent.GONE]

    # --- in ---

    def _drain(self, limit: int) -> bool:
        size = 0
        for count in range(limit):
            try:
                identity, *frames = _received(self._socket)
            except zmq.Again:
                return count > 0
            self._receive(identity, frames)
            size += sum(map(len, frames))
            if size > GROUP_BYTES:
                break
        return True

    def _receive(self, identity: bytes, frames: Sequence[bytes]) -> None:
        peer = self._peers.get(identity)
        counters = peer.run.counters if peer else self._strangers
        try:
            message, _ = wire.decode(frames)
            if isinstance(message, m.Hello):
                self._hello(identity, message, frames)
            elif peer is None:
                counters["refused"] += 1
                self._send(identity, m.Error("nobody has said HELLO on this connection", stranger=True))
            elif why := access.why_not_said(message, peer.hello.role):
                counters["refused"] += 1
                self._send(identity, m.Error(why))
            else:
                self._handle(peer, message, frames)
        except (WireError, Nonsense) as error:
            counters["malformed"] += 1
            self._send(identity, m.Error(str(error), stranger=peer is None))

    def _handle(self, peer: Peer, message: m.Message, frames: Sequence[bytes]) -> None:
        match message:
            case m.Events() | m.Gap() | m.Final():
                reply = peer.run.take(peer.hello.unit, peer.hello.incarnation, message, frames)
                if reply is Reply.WELCOME or (reply is Reply.ACK and peer.identity not in self._due):
                    self._due[peer.identity] = reply
            case m.Fetch():
                self._fetch(peer, message)
            case m.Command():
                self._command(peer.run, message, frames)
            case m.Ping(sent_ns):
                self._asked.append((peer, sent_ns, time.monotonic_ns()))

    def _hello(self, identity: bytes, hello: m.Hello, frames: Sequence[bytes]) -> None:
        self._forget(identity)
        try:
            peer = self._admitted(identity, hello, frames)
        except BrokerError as error:
            self._strangers["refused"] += 1
            self._send(identity, m.Refused(str(error)))
            return
        self._peers[identity] = peer
        if peer.account is not None:
            self._units.setdefault((peer.run.name, hello.unit), {})[hello.incarnation] = identity
        self._due[identity] = Reply.WELCOME

    def _admitted(self, identity: bytes, hello: m.Hello, frames: Sequence[bytes]) -> Peer:
        """Raises BrokerError with the reason for REFUSED."""
        newest = self._runs.find("")
        if hello.role == "watcher" and not hello.run and newest is not None:
            hello = replace(hello, run=newest.name)
        if why := access.why_not_admitted(hello, self._runs.only):
            raise BrokerError(why)
        self._make_room()
        if hello.role == "watcher" and self._runs.find(hello.run) is None:
            known = ", ".join(run.name for run in self._runs.all()[-10:]) or "none yet"
            raise BrokerError(f"there is no run {hello.run!r} here; runs: {known}")
        run = self._runs.open(hello.run)
        if hello.role not in ("unit", "agent"):
            return Peer(identity, hello, run, None)
        return Peer(identity, hello, run, run.join(hello, frames))

    def _fetch(self, peer: Peer, fetch: m.Fetch) -> None:
        """A FETCH inside the window before says how far the reader is, and what was sent is not sent again. Any other
        is a reader that begins, or goes elsewhere."""
        offset = max(fetch.offset, log.START)
        before = peer.window
        sent = before.sent if before and before.began <= offset <= before.sent else offset
        peer.window = Window(offset, sent, offset + min(fetch.credit, MAX_WINDOW_BYTES))
        self._readers[peer.identity] = peer

    def _command(self, run: Run, command: m.Command, frames: Sequence[bytes]) -> None:
        run.ordered(frames)
        passed_on = [frames[0], _NOBODY, *frames[2:]]  # a thousand receivers need not read a thousand names each
        for name in command.to or [unit for run_name, unit in self._units if run_name == run.name]:
            identities = list(self._units.get((run.name, name), {}).values())
            reached = [self._send_frames(identity, passed_on) is Sent.YES for identity in identities]
            if not any(reached) and not run.keep_for(name, passed_on):
                run.counters["unroutable"] += 1

    def _statistics(self, run: Run) -> dict[str, int]:
        peers = sum(peer.run is run for peer in self._peers.values())
        return {**(Counter(run.statistics()) + self._strangers), "peers": peers}

    # --- out ---

    def _push_records(self) -> tuple[bool, bool]:
        """One slice to every reader that may have one. Whether there is more to send, and whether a queue is full."""
        more = full = False
        for peer in list(self._readers.values()):
            window, source = peer.window, peer.run.log
            assert window is not None
            try:
                slice_ = _slice(window, source)
            except LogError as error:
                del self._readers[peer.identity]
                self._send(peer.identity, m.Error(str(error)))
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

    def _tell_senders(self) -> bool:
        """WELCOME and ACK to whom they are due. Whether a queue is full."""
        still_due = {}
        for identity, reply in list(self._due.items()):
            peer = self._peers[identity]
            next_seq = peer.account.next_seq if peer.account else 1
            if reply is Reply.ACK:
                sent = self._send(identity, m.Ack(next_seq))
            else:
                sent = self._send(identity, m.Welcome(m.VERSION, next_seq, CREDIT_BYTES, time.monotonic_ns()))
                for frames in peer.run.kept_for(peer.hello.unit) if sent is Sent.YES else ():
                    self._send_frames(identity, frames)
            if sent is Sent.FULL:
                still_due[identity] = reply
        self._due = still_due
        return bool(still_due)

    def _answer_pings(self) -> None:
        """At the end of the turn, so that a PONG also says: what you said before is written."""
        for peer, sent_ns, received_ns in self._asked:
            counters = self._statistics(peer.run)
            self._send(peer.identity, m.Pong(sent_ns, received_ns, time.monotonic_ns(), counters))
        self._asked.clear()

    def _send(self, identity: bytes, message: m.Message, *body: bytes) -> Sent:
        return self._send_frames(identity, wire.encode(message, *body))

    def _send_frames(self, identity: bytes, frames: Sequence[bytes | memoryview]) -> Sent:
        try:
            send, *rest, last = self._socket.send, identity, *frames
            for frame in rest:
                send(frame, _NOBLOCK_MORE)
            send(last, _NOBLOCK)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._forget(identity)
            return Sent.GONE
        return Sent.YES

    def _knock(self, peer: Peer) -> Sent:
        """ZeroMQ does not say that a peer has left until one writes to it; so write something it knows already."""
        end = peer.run.log.end
        return self._send(peer.identity, m.Ack(peer.account.next_seq) if peer.account else m.Records(end, end))

    # --- who is there ---

    def _forget(self, identity: bytes) -> None:
        peer = self._peers.pop(identity, None)
        if peer is None:
            return
        self._readers.pop(identity, None)
        self._due.pop(identity, None)
        who = (peer.run.name, peer.hello.unit)
        connections = self._units.get(who, {})
        if connections.get(peer.hello.incarnation) == identity:
            del connections[peer.hello.incarnation]
            if not connections:
                del self._units[who]

    def _make_room(self) -> None:
        """Before anybody is turned away, see who has left. Raises BrokerError if they are all there."""
        if len(self._peers) < access.MAX_PEERS:
            return
        if time.monotonic() - self._knocked_s > KNOCK_S:
            self._knocked_s = time.monotonic()
            for peer in list(self._peers.values()):
                self._knock(peer)
        if len(self._peers) >= access.MAX_PEERS:
            raise BrokerError(f"this broker has {access.MAX_PEERS} connections already; start another one")


def _received(socket: zmq.Socket[bytes]) -> list[bytes]:
    """One message. Raises zmq.Again if there is none. Like `recv_multipart`, which takes twice as long because it asks
    the socket after every frame whether there is another."""
    frame = socket.recv(_NOBLOCK, copy=False)
    frames = [frame.bytes]
    while frame.more:
        frame = socket.recv(_NOBLOCK, copy=False)
        frames.append(frame.bytes)
    return frames


def _slice(window: Window, source: log.Log) -> bytes:
    """What may be sent next: whole entries that fit into what is left of the window, or one that fits into none."""
    left = window.limit - window.sent
    if left <= 0 or window.sent >= source.end:
        return b""
    slice_ = source.read(window.sent, min(SLICE_BYTES, left))
    if len(slice_) > left and window.sent > window.began:
        window.limit = window.sent  # it can have a window for itself
        return b""
    return slice_
