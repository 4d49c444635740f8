"""The broker's side of the wire in a thread, small enough to misbehave on order.

The real one is used wherever it can do what a test needs; this one refuses, withholds acknowledgements and forgets.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import zmq

from probe import message as m
from probe import wire
from probe.environment import Environment

PATIENCE_S = 10.0
"""How long a test waits for something that must happen; nothing waits that long when all is well."""


def pong(ping: m.Ping) -> list[m.Pong]:
    """The answer of a broker whose clock is this host's."""
    now_ns = time.monotonic_ns()
    return [m.Pong(ping.sent_ns, now_ns, now_ns, {"runners": 1})]


class SmallBroker:
    def __init__(self, home: Path) -> None:
        self.endpoint = f"ipc://{home}/bus"
        self.home = home
        self.refuses = ""
        self.credit = 1 << 20
        self.acks = True
        self.measure = False
        """What WELCOME says."""
        self.answer_pings: Callable[[m.Ping], Iterable[m.Pong]] = pong
        self.said: list[m.Message] = []
        self.records: dict[tuple[str, int], list[wire.Record]] = defaultdict(list)
        self.next_seq: dict[tuple[str, int], int] = defaultdict(lambda: 1)
        self.lost: list[tuple[str, m.Gap]] = []
        self._peers: dict[bytes, tuple[str, int]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._orders: list[tuple[str, m.Order]] = []
        self._running = False
        self.listen()

    def environment(self, unit: str = "unit") -> Environment:
        return Environment(self.endpoint, "run", unit, str(self.home / "journal"), "", disabled=False)

    def listen(self) -> None:
        """Begin, or come back after `vanish`, with everything it knew."""
        listening = threading.Event()
        self._running = True
        self._thread = threading.Thread(target=self._serve, args=(listening,), name="small-broker")
        self._thread.start()
        assert listening.wait(PATIENCE_S)

    def vanish(self) -> None:
        """Close the socket: connections break."""
        self._running = False
        if self._thread is not None:
            self._thread.join()
        self._peers.clear()

    def order(self, unit: str, order: m.Order) -> None:
        with self._changed:
            self._orders.append((unit, order))

    def until(self, holds: Callable[[], Any]) -> Any:
        """Waits until `holds()` is true, which is looked at after every message; gives what it gave."""
        with self._changed:
            assert self._changed.wait_for(holds, PATIENCE_S), f"did not come true; heard {self.said}"
            return holds()

    def heard(self, kind: type, count: int = 1) -> list[Any]:
        """Waits for messages of this type."""
        return self.until(
            lambda: len(found := [said for said in self.said if isinstance(said, kind)]) >= count and found
        )

    def count(self, kind: type) -> int:
        """How many messages of this type have been heard; for answers, which are thought out under the lock."""
        return sum(isinstance(said, kind) for said in self.said)

    def all_records(self) -> list[wire.Record]:
        with self._changed:
            return [record for records in self.records.values() for record in records]

    def steps(self) -> list[str]:
        return [record[2] for record in self.all_records()]

    def _serve(self, listening: threading.Event) -> None:
        context: zmq.Context[Any] = zmq.Context()
        socket = context.socket(zmq.ROUTER)
        try:
            socket.linger = 0  # in `close` it may come too late for a connection, and `term` would wait (libzmq #3252)
            socket.bind(self.endpoint)
            listening.set()
            while self._running:
                with self._changed:
                    for unit, order in self._orders:
                        for peer in [peer for peer, (name, _) in self._peers.items() if name == unit]:
                            socket.send_multipart([peer, *wire.encode(m.Command((unit,)), wire.encode_order(order))])
                    self._orders.clear()
                if not socket.poll(5):
                    continue
                peer, *frames = socket.recv_multipart()
                message, body = wire.decode(frames)
                with self._changed:
                    for answer in self._answers(peer, message, body):
                        socket.send_multipart([peer, *wire.encode(answer)])
                    self.said.append(message)
                    self._changed.notify_all()
        finally:
            socket.close(linger=0)
            context.term()

    def _answers(self, peer: bytes, message: m.Message, body: bytes) -> Iterator[m.Message]:
        if isinstance(message, m.Hello):
            who = self._peers[peer] = (message.unit, message.incarnation)
            if self.refuses:
                yield m.Refused(self.refuses)
            else:
                yield m.Welcome(m.VERSION, self.next_seq[who], self.credit, 0, measure=self.measure)
            return
        who = self._peers[peer]
        match message:
            case m.Ping():
                yield from self.answer_pings(message)
            case m.Events(first, count):
                records = wire.unpack_records(body)
                assert len(records) == count, message
                assert first <= self.next_seq[who], f"{message} leaves numbers out, expected {self.next_seq[who]}"
                new = [record for record in records if record[0] >= self.next_seq[who]]
                self.records[who] += new
                self.next_seq[who] += len(new)
            case m.Gap(first, last):
                assert first <= self.next_seq[who]
                self.lost.append((who[0], message))
                self.next_seq[who] = max(self.next_seq[who], last + 1)
        if self.acks and not isinstance(message, m.Ping):
            yield m.Ack(self.next_seq[who])

    def close(self) -> None:
        self.vanish()
