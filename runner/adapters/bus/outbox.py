"""Orders on their way into the log: those that are to be sent, and those that the log does not show yet.

Belongs here: their order, their size, and which of them a broker that comes back has to get again. Must not know
sockets.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from broker.log import Entry
from probe import message as m
from probe import wire
from probe.event import TRUNCATED

MOST_WAITING: Final = 4096
"""A runner that has so many orders to send should send some of them before it decides anything more."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""So much is kept of answers that were sent. Those beyond it are not: a unit that misses one asks again when the broker
is back."""
NAMES: Final = 256
"""So many units at most are named in one COMMAND, whose header has a limit; each name has at most 200 bytes."""


class Given(NamedTuple):
    """One order as it travels."""

    command: m.Command
    body: bytes
    is_answer: bool
    """To something that a unit has asked, and asks again if need be."""
    private: bytes = b""
    """What of it no log will show."""


class Outbox:
    """The orders of one runner, at least once each and in the order given. Answers go behind what is ordered: of those
    there may be thousands."""

    def __init__(self) -> None:
        self._orders: deque[Given] = deque()
        self._answers: deque[Given] = deque()
        """To be sent."""
        self._under_way: deque[Given] = deque()
        """Sent, and not in the log as far as it has been read. A broker that dies has logged those that it has read, in
        order."""
        self._kept_bytes = 0

    def __len__(self) -> int:
        """How many are to be sent."""
        return len(self._orders) + len(self._answers)

    @property
    def full(self) -> bool:
        """Whether there is more to send than should be."""
        return len(self) >= MOST_WAITING

    @property
    def empty(self) -> bool:
        """Whether all that was given is in the log."""
        return not len(self) and not self._under_way

    def put(self, order: m.Order, to: Sequence[str], at_ns: int) -> None:
        """It is to be sent to the units in `to`; to all if there are none."""
        body, private, is_answer = _fitting(order), wire.encode_private(order), isinstance(order, m.Release | m.Break)
        for names in _pieces(to):
            self._queue(is_answer).append(Given(m.Command(names, at_ns), body, is_answer, private))

    def next(self) -> Given | None:
        """What is to be sent now."""
        return self._queue(not self._orders)[0] if len(self) else None

    def sent(self) -> None:
        """What was `next` has been sent."""
        given = self._queue(not self._orders).popleft()
        if given.is_answer:
            if self._kept_bytes >= KEPT_BYTES:
                return
            self._kept_bytes += len(given.body)
        self._under_way.append(given)

    def shown(self, entries: Iterable[Entry]) -> None:
        """The log has these. What is not the next one under way is another runner's, or is there twice."""
        for entry in entries:
            if self._under_way and isinstance(entry.message, m.Command):
                command, body, is_answer, _ = self._under_way[0]
                if entry.message == command and entry.body == body:
                    self._under_way.popleft()
                    self._kept_bytes -= len(body) if is_answer else 0

    def lost(self) -> None:
        """What is under way is not in the log, and will not be: it is to be sent again, before all others."""
        for given in reversed(self._under_way):
            self._queue(given.is_answer).appendleft(given)
        self._under_way.clear()
        self._kept_bytes = 0

    def _queue(self, is_answer: bool) -> deque[Given]:
        return self._answers if is_answer else self._orders


def _pieces(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """`names` in pieces that fit into a header; one empty piece if there are none."""
    for start in range(0, len(names) or 1, NAMES):
        yield tuple(names[start : start + NAMES])


def _fitting(order: m.Order) -> bytes:
    """`order` as the body of a COMMAND, cut where it has to be: an event's data may be as large as a whole command, and
    the units to blame may be thousands."""
    body = wire.encode_order(order)
    if len(body) <= wire.MAX_HEADER_BYTES:
        return body
    if isinstance(order, m.Release):
        return wire.encode_order(replace(order, data={TRUNCATED: ["data"]}))
    if isinstance(order, m.Break):
        return wire.encode_order(replace(order, who=order.who[:NAMES], why=order.why[: wire.MAX_HEADER_BYTES // 16]))
    return body
