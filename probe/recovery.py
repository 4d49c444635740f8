"""After a unit's death: what is in its journal and not in the log is published by whoever outlived it.

Belongs here: finding the journals whose owners are dead, and speaking for them. The same journal may be recovered by
several at once, from threads or processes: the lock on its folder lets one of them do it.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import zmq

from probe import message as m
from probe import wire
from probe.courier import SDK, open_socket
from probe.errors import JournalError
from probe.journal import Folder, clear, folders
from probe.keys import Keys
from probe.segment import Owner, Segment
from probe.tail import Point, Tail

TIMEOUT_S: Final = 5.0
"""How long the broker may take to acknowledge one journal."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Events `first`..`last` of a journal were dropped in its unit's life, and `why`."""

    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one journal. `events` is how many were published that the broker did not have; `problem` says why
    the journal could not be delivered and is still there, "" if it was; `unheard`: the broker said nothing at all."""

    unit: str
    incarnation: int
    events: int
    lost: tuple[Lost, ...] = ()
    problem: str = ""
    unheard: bool = False


def recover(
    folder: str | Path, broker: str, *, unit: str | None = None, keys: Keys | None = None, timeout_s: float = TIMEOUT_S
) -> list[Recovered]:
    """Publish and delete every journal in `folder` whose process is dead (of one `unit`, or of all), oldest first.

    Journals of living processes are left alone. `timeout_s` is for each journal. A journal that cannot be read or
    delivered stays where it is, and is in the answer with its `problem`. A broker that said nothing about one of them
    is not waited for again.
    """
    found = []
    clear(Path(folder))
    for path in folders(Path(folder)):
        try:
            place = Folder(path)
        except OSError:  # its process lives, or somebody else is at it or done with it
            continue
        try:
            answer = _recover_one(place, broker, keys, unit, timeout_s)
        finally:
            place.close()
        if answer is not None:
            found.append(answer)
            timeout_s = 0.0 if answer.unheard else timeout_s
    return found


def _recover_one(place: Folder, broker: str, keys: Keys | None, unit: str | None, timeout_s: float) -> Recovered | None:
    try:
        segments, owner = place.segments()
    except JournalError as error:
        name, _, number = place.path.name.rpartition("-")
        return Recovered(name, int(number), 0, problem=str(error))
    try:
        if owner is None or not segments:  # killed before its first event, or in the middle of being deleted
            with suppress(OSError):
                place.remove()
            return None
        if unit is not None and owner.unit != unit:
            return None
        answer = _publish(segments, owner, broker, keys, time.monotonic() + timeout_s)
        if not answer.problem:
            with suppress(OSError):  # it will be published again, which is harmless
                place.remove()
        return answer
    finally:
        for segment in segments:
            segment.close()


def _publish(segments: Sequence[Segment], owner: Owner, broker: str, keys: Keys | None, deadline: float) -> Recovered:
    """Say what is left of one incarnation, in its name, and that there will be no more."""
    last = segments[-1]
    point = Point((last.last or 0) + last.lost, last.head, last.lost, 0)
    tail = Tail(segments, recovered=True)
    events, lost = 0, []
    credit = 0
    final_sent = False
    context: zmq.Context[Any] = zmq.Context()
    socket = open_socket(context, keys)
    try:
        socket.connect(broker)
        socket.sndtimeo = max(0, int((deadline - time.monotonic()) * 1000))
        hello = m.Hello(
            m.VERSION, "unit", owner.run, owner.unit, owner.incarnation, owner.boot, owner.pid, f"{SDK} recovery"
        )
        socket.send_multipart(wire.encode(hello))
        while True:
            while credit > tail.bytes_under_way and (taken := tail.take(point)) is not None:
                message, body = taken
                with body:
                    socket.send_multipart(wire.encode(message, body))
                if isinstance(message, m.Gap):
                    lost.append(Lost(message.first, message.last, message.why))
                else:
                    events += message.count
            if credit and not final_sent and tail.next_seq > point.seq and tail.all_acked:
                socket.send_multipart(wire.encode(m.Final(point.seq)))
                final_sent = True
            if not socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise TimeoutError
            answer, _ = wire.decode(socket.recv_multipart())
            match answer:
                case m.Welcome():
                    credit = max(answer.credit, 1)
                    tail.rewind(answer.next_seq)
                case m.Ack() if final_sent:
                    return Recovered(owner.unit, owner.incarnation, events, tuple(lost))
                case m.Ack(below):
                    tail.ack(below)
                case m.Refused(why):
                    return Recovered(owner.unit, owner.incarnation, 0, problem=f"the broker refuses it: {why}")
    except (zmq.Again, TimeoutError):
        problem = f"the broker at {broker} did not acknowledge it in time"
        return Recovered(owner.unit, owner.incarnation, events, tuple(lost), problem, unheard=not credit)
    finally:
        socket.close(linger=0)
        context.term()
