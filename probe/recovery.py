"""After a unit's death: what is in its journal and not in the log is published by a process that outlived it.

Belongs here: finding the journals whose owners are dead, and speaking for them. The same journal may be recovered by
several at once, from threads or processes: the lock on its folder lets one of them do it.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import zmq

from probe import hello, journal, process, shortage
from probe import marks as marks_file
from probe import message as m
from probe.backlog import NOTHING, Backlog, JournalPosition
from probe.clock import boot_id, monotonic
from probe.connection import BrokerConnection, Connected, Disconnected, KeptOut
from probe.errors import JournalError, WireError
from probe.journal import Folder, clear, folders
from probe.keys import Keys
from probe.marks import Marks, Unkept
from probe.segment import Owner, Segment

_SUPERVISOR: Final = "_"
"""How the folder of a peer of the fabric begins, whose name is "@"..."""
TIMEOUT_S: Final = 5.0
"""How long the broker may take to acknowledge more of a journal. One that is started again needs some tenths of a
second, on a busy machine some seconds."""
DAMAGED: Final = "its journal is damaged"
CHECK_S: Final = 0.2
"""How often the patience is asked for again: it may have become shorter."""


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
    """Why it is not known all that it emitted: it kept no journal, or one that is damaged."""


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
    but those of supervisors last: after the last word of one nothing of its units is still to come. Of
    processes that kept none, as `marks` says (None: those of `folder`), it is said that what they emitted is unknown.

    Journals of living processes are left alone. `timeout_s` is how long the broker may take until it acknowledges more
    of a journal; a function is asked again and again, as it may become shorter. A broker that is restarted meanwhile
    gets again what it does not have. A journal that cannot be read or delivered stays where it is, and is in the answer
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
    """Say of a process that kept no journal that what it emitted is unknown. None: it lives, and may say it yet."""
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
    except OSError:  # its process lives, or another process is at it or done with it
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
    """The connection is gone, and with it everything that was under way."""


class _Publication:
    """One journal on its way to the broker, over as many connections as that takes."""

    def __init__(self, segments: Sequence[Segment], owner: Owner, broker: _Broker, unknown: str = "") -> None:
        """`unknown` says why it is not known all that it emitted; without segments, why there are none."""
        self._end = NOTHING
        if segments:
            last = segments[-1]
            self._end = JournalPosition((last.last or 0) + last.lost, last.head, last.lost, 0)
        self._unknown = unknown
        self._backlog = Backlog(segments, recovered=True)
        self._owner = owner
        self._broker = broker
        self._connection = BrokerConnection(broker.endpoint, lambda: hello.of_recovery(owner, journal=bool(segments)))
        self._wanted = 0
        """The first number that the broker did not have; 0: it has not said so yet."""
        self._was_answered = False
        """The broker has said something, were it a refusal."""
        self._lost: dict[int, DroppedEvents] = {}
        self._credit = 0
        """What the broker allows on this connection; 0 until its WELCOME."""
        self._final_sent = False
        self._progress_s = monotonic()
        """When the broker last said something new."""

    def deliver(self) -> Recovered:
        """Say what is left of one incarnation, in its name, and that there will be no more."""
        problem = f"the broker at {self._broker.endpoint} did not acknowledge it in time"
        try:
            while self._left_s > 0:
                with suppress(_Broken):
                    problem = self._publish()
                    break
        except TimeoutError:
            pass
        except WireError as error:
            problem = f"what listens at {self._broker.endpoint} does not speak our protocol: {error}"
        lost = tuple(each for each in self._lost.values() if each.last < self._backlog.acked)
        events = self._backlog.acked - self._wanted - sum(each.last - each.first + 1 for each in lost)
        return Recovered(
            self._owner.unit,
            self._owner.incarnation,
            events if self._wanted else 0,
            lost,
            problem,
            unheard=not self._was_answered,
            unknown=self._unknown,
        )

    @property
    def _left_s(self) -> float:
        return self._progress_s + self._broker.patience() - monotonic()

    def _publish(self) -> str:
        """All of it, over one connection; what is in the way, "" if nothing is. Raises _Broken or TimeoutError."""
        self._begin_again()
        poller = zmq.Poller()
        try:
            self._connection.open(self._broker.context, self._broker.keys)
            self._connection.register(poller)
            socket, monitor = self._connection.sockets
            while (left_s := self._left_s) > 0:
                ready = dict(poller.poll(math.ceil(min(left_s, CHECK_S) * 1000)))
                if monitor in ready and (why := self._watch()):
                    return why
                if socket in ready and (received := self._connection.receive()) is not None:
                    if isinstance(received.message, m.Ack) and self._final_sent:
                        return ""
                    if why := self._take(received.message):
                        return why
                    self._say_more()
            raise TimeoutError
        finally:
            self._connection.close(linger_ms=0)

    def _begin_again(self) -> None:
        """Nothing is under way, and WELCOME is to come."""
        self._credit, self._final_sent = 0, False

    def _watch(self) -> str:
        """What became of the connection: it is there, or gone (_Broken); why there will be none, if so."""
        for change in self._connection.watch():
            match change:
                case Connected():
                    self._begin_again()
                case Disconnected():
                    raise _Broken
                case KeptOut(why):
                    return f"the broker at {self._broker.endpoint} does not let us in: {why}"
        return ""

    def _take(self, message: m.Message) -> str:
        """What the broker says; why it wants no more, if so."""
        self._was_answered = True
        acked = self._backlog.acked
        match message:
            case m.Welcome():
                self._credit = max(message.credit, 1)
                self._backlog.rewind(message.next_seq)
                if not self._wanted:
                    self._wanted = self._backlog.next_seq
                    self._progress_s = monotonic()
            case m.Ack(below):
                self._backlog.ack(below)
            case m.Error(_, stranger=True):
                self._begin_again()
            case m.Error(why):
                return f"the broker did not understand it: {why}"
            case m.Refused(why):
                return f"the broker refuses it: {why}"
        if self._backlog.acked > acked:
            self._progress_s = monotonic()
        return ""

    def _say_more(self) -> None:
        backlog, end = self._backlog, self._end
        while self._credit > backlog.bytes_under_way and (taken := backlog.take(end)) is not None:
            message, body = taken
            with body:
                self._send(message, body)
            if isinstance(message, m.Gap):
                self._lost[message.first] = DroppedEvents(message.first, message.last, message.why)
        if self._credit and not self._final_sent and backlog.next_seq > end.seq and backlog.all_acked:
            self._send(m.Final(end.seq, self._unknown))
            self._final_sent = True

    def _send(self, message: m.Message, *body: memoryview) -> None:
        if not self._connection.send(message, *body):  # there is no bound on what may wait, so there is no connection
            raise _Broken
