"""One run as the broker sees it: its log, its ledger, its counters.

Belongs here: what becomes of a message that is evidence. Must not know sockets, peers or the time.
"""

import typing
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum
from itertools import islice
from pathlib import Path

from broker import access, log
from broker.errors import BrokerError
from broker.incidents import Incidents
from broker.ledger import Acceptance, Account, Ledger
from broker.quotas import Share
from probe import wire
from probe.message import Command, Events, Final, Gap, Hello, Names

SMALLEST_RECORD: typing.Final = 7
"""Bytes of a record with nothing in it; more records than fit into a body are no records."""


PUBLIC_FRAMES: typing.Final = 3
"""Type, header and body of a message; a fourth one, of a COMMAND, is passed on and not kept."""
RUNNER: typing.Final = "@runner"
"""Who is named in the log as the sender of commands."""
MAX_PENDING: typing.Final = 65_536
"""So many commands wait for a supervisor that is not there."""
MAX_AWAY: typing.Final = 4096
"""For so many of them: more hosts than a run has."""


TOO_MANY_ORDERS: typing.Final = "is not there, and more orders wait for it than are kept"
"""What is counted (see `incidents`)."""


class Receipt(Enum):
    """What the sender of a message hears as soon as it is written."""

    NOTHING = "nothing"
    ACK = "ack"
    WELCOME = "welcome"
    """Go on from `next_seq`, and go back if need be."""


class ProtocolViolation(Exception):
    """A message that is well formed and cannot be meant."""


class Run:
    """Evidence comes in by `take`, is written by `flush`, and leaves by `log.read`."""

    def __init__(self, name: str, folder: Path, *, durable: bool = False) -> None:
        """Open the log in `folder`; one that is there already is continued. A `durable` one is synced before anything
        in it is acknowledged. Raises LogError."""
        self.name = name
        self.ledger = Ledger()
        self.counters: Counter[str] = Counter()
        """See docs/wire.md, PONG."""
        self.incidents = Incidents()
        """What its peers did that they may not."""
        self.owners: dict[str, str] = {}
        """Unit -> whose it is, see `access`."""
        self._group: list[bytes] = []
        self._group_bytes = 0
        self.private: dict[int, bytes] = {}
        """Place of a COMMAND in the log -> what of it is not there; until all have it."""
        self.pending: dict[str, deque[int]] = {}
        """Supervisor -> where in the log the COMMANDs begin that it is still to get; see `hold_for`."""
        self.maker = ""
        """Name of the key that has made it; "": it was made on this host, or before keys were noted."""
        self.opener: Share | None = None
        """What the key has of this broker that has opened it this time."""
        self.written: dict[str, float] = {}
        """Key -> bytes that it has written lately, for who fills the disk; what came without a key is its maker's."""
        self._noted = 0
        """How much of what is pending is there already."""
        self.shut_out: dict[str, str] = {}
        """Key that may not come in any more -> why."""
        self.users = 0
        """Peers that take part in it, or have left and may still be heard."""
        self.log = log.Log(folder / log.FILE_NAME, self._remember, durable=durable)
        self.counters["torn_bytes"] = self.log.cut

    def begin(self, key: str) -> None:
        """The first word of its log, if it has none yet: the key that makes it."""
        if self.log.end == log.START and not self._group:
            self.maker = key
            self._keep(RUNNER, 0, wire.encode(Names({}, key)))

    def is_contested(self, hello: Hello, frames: Sequence[bytes]) -> bool:
        """Whether another process than the one that says HELLO with `frames` speaks, or has spoken, as this
        incarnation: they would take each other's numbers. The first such HELLO is kept: it says to the judge of the
        log that what this process emits is nowhere."""
        account = self.ledger.find(hello.unit, hello.incarnation)
        if account is None or account.claim((hello.host, hello.pid)):
            return False
        if not account.contested:
            account.contested = True
            self._keep(hello.unit, hello.incarnation, frames)
        return True

    def join(self, hello: Hello, frames: Sequence[bytes], owner: str | None = None) -> Account:
        """The account of the incarnation that says HELLO; a name without an owner belongs to `owner` from then on. Its
        first HELLO is kept, and any that says it still waits for an answer, so that the reader of the log answers
        again. Raises BrokerError: too many incarnations."""
        account = self.ledger.find(hello.unit, hello.incarnation)
        if account is None and len(self.ledger) >= access.MAX_INCARNATIONS:
            raise BrokerError(f"run {self.name!r} has {access.MAX_INCARNATIONS} incarnations already; start a new run")
        if account is None and self.ledger.lives(hello.unit) >= access.MAX_LIVES:
            raise BrokerError(
                f"unit {hello.unit!r} has {access.MAX_LIVES} incarnations already; see why it has so many"
            )
        if owner is not None and hello.unit not in self.owners:
            self._own({hello.unit: owner})
        if account is None or hello.waiting:
            self._keep(hello.unit, hello.incarnation, frames)
        account = self.ledger.open(hello.unit, hello.incarnation)
        account.claim((hello.host, hello.pid))
        account.rewinding = False
        return account

    def take(self, unit: str, incarnation: int, message: Events | Gap | Final, frames: Sequence[bytes]) -> Receipt:
        """Accept EVENTS, GAP or FINAL, sent as `frames`.

        Raises ProtocolViolation for a message that no correct sender can mean.
        """
        account = self.ledger.open(unit, incarnation)
        match message:
            case Final(last):
                outcome = account.judge_final(last)
            case Events() | Gap():
                first, end = _range(message, frames)
                outcome = account.judge(first, end)
                known = account.known(first, end)
        match outcome:
            case Acceptance.VIOLATION:
                raise ProtocolViolation(f"{message} makes no sense: numbers count from 1 and end before 2^63")
            case Acceptance.REWIND:
                self.counters["rewound"] += 1
                was_rewinding, account.rewinding = account.rewinding, True
                return Receipt.NOTHING if was_rewinding else Receipt.WELCOME
            case Acceptance.KNOWN if not isinstance(message, Final):
                self.counters["duplicates"] += known
            case Acceptance.APPEND:
                if isinstance(message, Final):
                    self.ledger.finish(unit, incarnation)
                else:
                    if known:
                        message, frames = _trimmed(message, frames, known)
                        self.counters["duplicates"] += known
                    account.advance(end)
                    self._count(message)
                self._keep(unit, incarnation, frames)
        account.rewinding = False
        return Receipt.NOTHING if isinstance(message, Events) and not message.count else Receipt.ACK

    def ordered(self, frames: Sequence[bytes]) -> int:
        """Keep a COMMAND, sent as `frames`, but not what in it is private: what was ordered belongs to what happened.
        Where in the log it begins."""
        place = self.log.end + self._group_bytes
        self._keep(RUNNER, 0, frames[:PUBLIC_FRAMES])
        self.counters["commands"] += 1
        return place

    def order_at(self, place: int) -> bytes:
        """The body of the COMMAND that begins there in the log. Raises LogError."""
        return next(log.entries(self.log.read(place, 0), place)).body

    def name_owners(self, names: Names) -> str:
        """Keep whose the names of the run are; that may be said again. Why not, if one has another owner already; ""
        if none has."""
        for unit, owner in names.owners.items():
            if self.owners.get(unit, owner) != owner:
                return (
                    f"in run {self.name!r} {unit!r} is to belong to {owner}, and {self.owners[unit]!r} has it already: "
                    "another peer was there before the runner; start a new run, and see who has that key"
                )
        new = {unit: owner for unit, owner in names.owners.items() if unit not in self.owners}
        if len(self.owners) + len(new) > access.MAX_OWNED:
            return f"run {self.name!r} would have more than {access.MAX_OWNED} names with an owner"
        if new:
            self._own(new)
        return ""

    def _own(self, owners: dict[str, str]) -> None:
        self.owners.update(owners)
        self._keep(RUNNER, 0, wire.encode(Names(owners)))

    def hold_for(self, unit: str, places: Iterable[int]) -> bool:
        """Hold COMMANDs for a supervisor that is not there: it has not said HELLO yet, or its connection broke and it
        will say HELLO again. Whether they are held; one that has said FINAL gets nothing."""
        if not unit.startswith("@") or self.ledger.finished(unit):
            return False
        if unit not in self.pending and len(self.pending) >= MAX_AWAY:
            self.incidents.count(unit, TOO_MANY_ORDERS)
            return False
        pending = self.pending.setdefault(unit, deque())
        pending.extend(places)
        while len(pending) > MAX_PENDING:
            pending.pop()
            self.counters["unroutable"] += 1
            self.incidents.count(unit, TOO_MANY_ORDERS)
        return True

    def note(self, key: str, size: int) -> None:
        """So much was brought with this key."""
        self.written[key] = self.written.get(key, 0.0) + size
        self._noted += size

    @property
    def unwritten_bytes(self) -> int:
        """How much was accepted and is not written yet."""
        return self._group_bytes

    def flush(self) -> None:
        """Write everything accepted since the last time. Raises LogError."""
        if self._group:
            self.log.append(self._group)
            self.note(self.maker, max(0, self._group_bytes - self._noted))
            self._noted = 0
            self._group.clear()
            self._group_bytes = 0

    def statistics(self) -> dict[str, int]:
        """The counters, and how things stand."""
        return {
            **self.counters,
            "log_bytes": self.log.end,
            "incarnations": len(self.ledger),
            "unfinished": self.ledger.unfinished,
        }

    @property
    def weight(self) -> int:
        """What is remembered of it in memory, counted in incarnations."""
        return (
            len(self.ledger) + sum(map(len, self.pending.values())) // 16 + sum(map(len, self.private.values())) // 256
        )

    def _keep(self, unit: str, incarnation: int, frames: Sequence[bytes | memoryview]) -> None:
        payload = wire.encode_entry(unit, incarnation, frames)
        self._group.append(payload)
        self._group_bytes += log.PREFIX.size + len(payload)
        self.counters["entries"] += 1

    def _count(self, message: Events | Gap) -> None:
        if isinstance(message, Events):
            self.counters["events"] += message.count
        else:
            self.counters["lost"] += message.last - message.first + 1

    def _remember(self, entry: log.Entry) -> None:
        self.counters["entries"] += 1
        if isinstance(entry.message, Command):
            self.counters["commands"] += 1
            return
        if isinstance(entry.message, Names):
            self.owners.update(entry.message.owners)
            if entry.start == log.START:
                self.maker = entry.message.key
            return
        account = self.ledger.open(entry.unit, entry.incarnation)
        match entry.message:
            case Hello(host=host, pid=pid):
                account.contested |= not account.claim((host, pid))
            case Events(first, count):
                account.advance(first + count)
                self._count(entry.message)
            case Gap(_, last):
                account.advance(last + 1)
                self._count(entry.message)
            case Final():
                self.ledger.finish(entry.unit, entry.incarnation)


def _range(message: Events | Gap, frames: Sequence[bytes]) -> tuple[int, int]:
    """The sequence numbers that the message is about: from, up to but not including."""
    if isinstance(message, Gap):
        if message.last < message.first:
            raise ProtocolViolation(f"GAP ends at {message.last}, before it begins at {message.first}")
        return message.first, message.last + 1
    size = len(frames[2]) if len(frames) == 3 else 0
    if message.count * SMALLEST_RECORD > size or (size and not message.count):
        raise ProtocolViolation(f"EVENTS says {message.count} records and brings {size} bytes")
    return message.first, message.first + message.count


def _trimmed(message: Events | Gap, frames: Sequence[bytes], known: int) -> tuple[Events | Gap, list[bytes]]:
    """The message without its first `known` numbers, and the frames that say so."""
    if isinstance(message, Gap):
        rest: Events | Gap = replace(message, first=message.first + known)
        return rest, [bytes(frame) for frame in wire.encode(rest)]
    end = next(islice(wire.record_bounds(frames[2]), known - 1, None), None)
    if end is None:
        raise ProtocolViolation(f"EVENTS says {message.count} records and brings fewer")
    rest = replace(message, first=message.first + known, count=message.count - known)
    return rest, [bytes(frame) for frame in wire.encode(rest, frames[2][end:])]
