"""After a unit's death: what is in its journal and not in the log is published by whoever outlived it.

Belongs here: finding the journals whose owners are dead, and speaking for them. The same journal may be recovered by
several at once, from threads or processes: the lock on its folder lets one of them do it.
"""

import math
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

from probe import journal, process, shortage, wire
from probe import marks as marks_file
from probe import message as m
from probe.backlog import NOTHING, Backlog, JournalPosition
from probe.clock import boot_id, monotonic
from probe.errors import JournalError, WireError
from probe.handshake import DISCONNECTED, MONITORED, SUCCEEDED, Handshakes
from probe.journal import Folder, clear, folders
from probe.keys import Keys
from probe.marks import Marks, Unkept
from probe.segment import Owner, Segment
from probe.sender import SDK, open_socket

_SUPERVISOR: Final = "_"
"""How the folder of a peer of the fabric begins, whose name is "@"..."""
TIMEOUT_S: Final = 5.0
"""How long the broker may take to acknowledge more of a journal. One that is started again needs some tenths of a
second, on a busy machine some seconds."""
DAMAGED: Final = "its journal is damaged"
LOOK_S: Final = 0.2
"""How often is asked whether there is still time."""


@dataclass(frozen=True, slots=True)
class DroppedEvents:
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
    lost: tuple[DroppedEvents, ...] = ()
    problem: str = ""
    unheard: bool = False
    unknown: str = ""
    """Why nobody knows all that it emitted: it kept no journal, or one that is damaged."""


def recover(
    folder: str | Path,
    broker: str,
    *,
    run: str | None = None,
    unit: str | None = None,
    keys: Keys | None = None,
    marks: Marks | None = None,
    timeout_s: float | Callable[[], float] = TIMEOUT_S,
) -> list[Recovered]:
    """Publish and delete every journal in `folder` whose process is dead (of `run`, of `unit`, or all), oldest first,
    but those of supervisors last: whoever has heard the last word of one need not wait for its units any more. Of
    processes that kept none, as `marks` says (None: those of `folder`), it is said that nobody knows what they emitted.

    Journals of living processes are left alone. `timeout_s` is how long the broker may take until it acknowledges more
    of a journal; a function is asked again and again, as it may become shorter. A broker that is restarted meanwhile is
    told anew what it does not have. A journal that cannot be read or delivered stays where it is, and is in the answer
    with its `problem`. A broker that said nothing about one of them is not waited for again, and what was in the way
    then is the problem of all that follow.
    """
    found: list[Recovered] = []
    silence = ""
    patience = timeout_s if callable(timeout_s) else lambda: timeout_s
    clear(Path(folder))
    shortage.ask_for_a_bus()
    with zmq.Context() as context, _marks_of(Path(folder), marks) as the_marks:
        paths = list(folders(Path(folder)))
        last = [path for path in paths if path.name.startswith(_SUPERVISOR)]
        work: list[Callable[[_Broker], Recovered | None]] = [
            *(partial(_recover_one, path, (run, unit)) for path in paths if path not in last),
            *(partial(_speak_for, the_marks, slot, mark) for the_marks, slot, mark in _wanted(the_marks, (run, unit))),
            *(partial(_recover_one, path, (run, unit)) for path in last),
        ]
        for publish in work:
            answer = publish(_Broker(context, broker, keys, patience))
            if answer is not None:
                if answer.unheard:
                    patience, silence = _none, silence or answer.problem
                    answer = replace(answer, problem=silence)
                found.append(answer)
    return found


@contextmanager
def _marks_of(folder: Path, given: Marks | None) -> Iterator[Marks | None]:
    """The marks that were given, else those of `folder`, if it has any."""
    ours = Marks.of(folder) if given is None else None
    try:
        yield given or ours
    finally:
        if ours is not None:
            ours.close()


def _wanted(marks: Marks | None, wanted: tuple[str | None, str | None]) -> Iterator[tuple[Marks, int, Unkept]]:
    """The marks of a run and a unit (None: of all)."""
    for slot, mark in marks.left() if marks is not None else ():
        if all(want in (None, has) for want, has in zip(wanted, (mark.run, mark.unit), strict=True)):
            assert marks is not None
            yield marks, slot, mark


def _speak_for(marks: Marks, slot: int, mark: Unkept, broker: "_Broker") -> Recovered | None:
    """Say of a process that kept no journal that nobody knows what it emitted. None: it lives, and may say it yet."""
    if not marks.take(slot):
        return None
    owner = Owner(mark.run, mark.unit, mark.incarnation, mark.pid, mark.boot)
    answer = _Publication((), owner, broker, mark.why).deliver()
    if answer.problem:
        marks.free(slot)
    else:
        marks.clear(slot)
    return answer


class LeftOver(NamedTuple):
    """Names of journals in a folder, or of its file of marks, that were not published."""

    published: tuple[str, ...]
    """Those that `recover` can still publish, or could if their processes were dead."""
    unreadable: tuple[str, ...]
    """Those that it cannot, and whatever else lies there."""


def left(folder: Path) -> LeftOver:
    """What is in the folder of a run's journals."""
    names = journal.left(folder)
    good = [name for name in names if name == marks_file.FILE or journal.is_readable(folder / name)]
    return LeftOver(tuple(good), tuple(name for name in names if name not in good))


def runs(folder: str | Path) -> list[str]:
    """The runs to which the journals in `folder` belong whose processes are dead, and the marks."""
    found = set()
    for path in folders(Path(folder)):
        with suppress(OSError, JournalError), closing(Folder(path)) as place:
            segments, owner = place.segments()
            for segment in segments:
                segment.close()
            if owner is not None and segments:
                found.add(owner.run)
    with _marks_of(Path(folder), None) as marks:
        found.update(mark.run for _, _, mark in _wanted(marks, (None, None)))
    return sorted(found)


def _none() -> float:
    return 0.0


class _Broker(NamedTuple):
    """Whom journals are published to."""

    context: "zmq.Context[Any]"
    endpoint: str
    keys: Keys | None
    patience: Callable[[], float]
    """How long it may be silent, in seconds; to be asked again and again."""


def _recover_one(path: Path, wanted: tuple[str | None, str | None], broker: _Broker) -> Recovered | None:
    try:
        place = Folder(path)
    except OSError:  # its process lives, or somebody else is at it or done with it
        return None
    try:
        return _recover_from(place, wanted, broker)
    finally:
        place.close()


def _recover_from(place: Folder, wanted: tuple[str | None, str | None], broker: _Broker) -> Recovered | None:
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
        if any(want not in (None, has) for want, has in zip(wanted, (owner.run, owner.unit), strict=True)):
            return None
        if owner.boot == boot_id() and process.maps(owner.pid, os.path.realpath(place.path)):
            return None  # it lives, and has only closed every file that it had open, as daemons do
        damaged = DAMAGED if any(segment.is_damaged for segment in segments) else ""
        answer = _Publication(segments, owner, broker, damaged).deliver()
        if answer.problem:
            with suppress(OSError):  # it may lie there for long
                for segment in segments:
                    segment.seal()
        else:
            with suppress(OSError):  # it will be published again, which is harmless
                place.remove()
        return answer
    finally:
        for segment in segments:
            segment.close()


class _Broken(Exception):
    """The connection is gone, and with it whatever was under way."""


class _Publication:
    """One journal on its way to the broker, over as many connections as that takes."""

    def __init__(self, segments: Sequence[Segment], owner: Owner, broker: _Broker, unknown: str = "") -> None:
        """`unknown` says why nobody knows all that it emitted; without segments, why there are none."""
        self._has_journal = bool(segments)
        self._point = NOTHING
        if segments:
            last = segments[-1]
            self._point = JournalPosition((last.last or 0) + last.lost, last.head, last.lost, 0)
        self._unknown = unknown
        self._tail = Backlog(segments, recovered=True)
        self._owner = owner
        self._context, self._broker, self._keys, self._patience = broker
        self._handshakes = Handshakes(broker.keys)
        self._wanted = 0
        """The first number that the broker did not have; 0: it has not said so yet."""
        self._heard = False
        """The broker has said something, were it a refusal."""
        self._lost: dict[int, DroppedEvents] = {}
        self._credit = 0
        """What the broker allows on this connection; 0 until its WELCOME."""
        self._final_sent = False
        self._progress_s = monotonic()
        """When the broker last said something new."""

    def deliver(self) -> Recovered:
        """Say what is left of one incarnation, in its name, and that there will be no more."""
        problem = f"the broker at {self._broker} did not acknowledge it in time"
        try:
            while self._left_s > 0:
                with suppress(_Broken):
                    problem = self._speak()
                    break
        except TimeoutError:
            pass
        except WireError as error:
            problem = f"what listens at {self._broker} does not speak our protocol: {error}"
        lost = tuple(each for each in self._lost.values() if each.last < self._tail.acked)
        events = self._tail.acked - self._wanted - sum(each.last - each.first + 1 for each in lost)
        return Recovered(
            self._owner.unit,
            self._owner.incarnation,
            events if self._wanted else 0,
            lost,
            problem,
            unheard=not self._heard,
            unknown=self._unknown,
        )

    @property
    def _left_s(self) -> float:
        return self._progress_s + self._patience() - monotonic()

    def _speak(self) -> str:
        """All of it, over one connection; what is in the way, "" if nothing is. Raises _Broken or TimeoutError."""
        self._credit, self._final_sent = 0, False
        poller = zmq.Poller()
        with open_socket(self._context, self._keys) as socket, socket.get_monitor_socket(MONITORED) as monitor:
            poller.register(socket, zmq.POLLIN)
            poller.register(monitor, zmq.POLLIN)
            socket.linger = 0
            socket.ipv6 = "[" in self._broker
            socket.connect(self._broker)
            try:
                while (left_s := self._left_s) > 0:
                    ready = dict(poller.poll(math.ceil(min(left_s, LOOK_S) * 1000)))
                    if monitor in ready and (why := self._watch(socket, *monitor.recv_multipart())):
                        return why
                    if socket in ready:
                        answer, _ = wire.decode(socket.recv_multipart())
                        if isinstance(answer, m.Ack) and self._final_sent:
                            return ""
                        if why := self._hear(answer, socket):
                            return why
                        self._say_more(socket)
                raise TimeoutError
            finally:
                socket.disable_monitor()

    def _watch(self, socket: "zmq.Socket[bytes]", event_and_value: bytes, _address: bytes) -> str:
        """A connection is there, or gone (_Broken); why there will be none, if so."""
        event, value = struct.unpack("=Hi", event_and_value)
        if why := self._handshakes.judge(event, value):
            return f"the broker at {self._broker} does not let us in: {why}"
        if event == DISCONNECTED:
            raise _Broken
        if event == SUCCEEDED:
            self._greet(socket)
        return ""

    def _hear(self, answer: m.Message, socket: "zmq.Socket[bytes]") -> str:
        """What the broker says; why it wants no more, if so."""
        self._heard = True
        acked = self._tail.acked
        match answer:
            case m.Welcome():
                self._credit = max(answer.credit, 1)
                self._tail.rewind(answer.next_seq)
                if not self._wanted:
                    self._wanted = self._tail.next_seq
                    self._progress_s = monotonic()
            case m.Ack(below):
                self._tail.ack(below)
            case m.Error(_, stranger=True):
                self._greet(socket)
            case m.Error(why):
                return f"the broker did not understand it: {why}"
            case m.Refused(why):
                return f"the broker refuses it: {why}"
        if self._tail.acked > acked:
            self._progress_s = monotonic()
        return ""

    def _greet(self, socket: "zmq.Socket[bytes]") -> None:
        owner = self._owner
        self._credit, self._final_sent = 0, False
        socket.get(zmq.EVENTS)  # makes it notice a connection that has just come
        sdk = f"{SDK} recovery"
        _send(
            socket,
            m.Hello(
                m.VERSION,
                "unit",
                owner.run,
                owner.unit,
                owner.incarnation,
                owner.boot,
                owner.pid,
                sdk,
                recovered=True,
                journal=self._has_journal,
            ),
        )

    def _say_more(self, socket: "zmq.Socket[bytes]") -> None:
        while self._credit > self._tail.bytes_under_way and (taken := self._tail.take(self._point)) is not None:
            message, body = taken
            with body:
                _send(socket, message, body)
            if isinstance(message, m.Gap):
                self._lost[message.first] = DroppedEvents(message.first, message.last, message.why)
        if self._credit and not self._final_sent and self._tail.next_seq > self._point.seq and self._tail.all_acked:
            _send(socket, m.Final(self._point.seq, self._unknown))
            self._final_sent = True


def _send(socket: "zmq.Socket[bytes]", message: m.Message, *body: memoryview) -> None:
    try:
        socket.send_multipart(wire.encode(message, *body), zmq.NOBLOCK)
    except zmq.Again:  # there is no bound on what may wait, so there is no connection
        raise _Broken from None
