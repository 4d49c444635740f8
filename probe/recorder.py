"""From a call to the journal: `Recorder`, the part of a unit that every probe runs through.

Belongs here: the fast lane that nearly every event takes, the careful lane for the rest, and counting what had to be
dropped. Must not know sockets, brokers or how an incarnation begins; `units` does.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from sys import is_finalizing
from typing import Any, Final, Protocol

from probe import handlers, limits
from probe.backlog import JournalPosition
from probe.clock import monotonic_ns
from probe.errors import warn
from probe.event import TRUNCATED, Kind
from probe.journal import Journal
from probe.native import RLock
from probe.segment import HEADER_BYTES, Segment
from probe.wire import record_packer

_SURELY_FITS: Final = limits.SURELY_FITS
_PLAIN_INT: Final = 1 << 63
_CANNOT_PACK: Final = (TypeError, ValueError, OverflowError, IndexError, MemoryError)
"""What the fast lane raises when a record does not pack or does not fit. Not `Exception`: an error that the caller's
own signal handler raises in the middle of a probe belongs to the caller."""

_ASKING: Final = (Kind.ARRIVE, Kind.WAIT)
"""A caller blocks until these are answered: they wake the sender in any case."""

Collector = Callable[[str, int, str, str | None, dict[str, Any]], None]
"""Takes unit, kind, step, key and data of events that go nowhere else."""


class ProbeCall(Protocol):
    """What `emit`, `send` and `receive` are."""

    def __call__(self, step: str, /, key: object = None, **data: object) -> None: ...


def _probe(kind: Kind, doc: str) -> Any:
    """The method that fires probes of one kind: the fast lane, everything else is left to `Recorder.record`.

    Under the lock there is no call between reading the state and the last of the stores that change it, other than
    reading the clock and packing. So neither a signal handler nor a KeyboardInterrupt comes between those stores, and a
    process killed at any point leaves a journal that ends with a whole record.
    """
    number = int(kind)

    def fire(self: "Recorder", step: str, /, key: object = None, **data: object) -> None:
        if self._off:
            return
        if type(step) is str and (key is None or type(key) is str):
            try:
                with self.lock:
                    if not self._busy:
                        self._busy = True
                        try:
                            seq = self._seq + 1
                            record = self._pack([seq, monotonic_ns(), step, number, key, data])
                            start = self._end
                            end = start + len(record)
                            if end - start <= _SURELY_FITS or limits.fits(step, key, end - start):
                                self._map[start:end] = record  # IndexError: the segment is full
                                self._seq = seq
                                self._end = end
                                self._words[0] = end
                                if self._idle:
                                    self._wake()
                                return
                        finally:
                            self._busy = False
                            if self._deferred:
                                self._drain()
            except _CANNOT_PACK as error:
                if handlers.raised(error):
                    raise
        elif type(key) is int and -_PLAIN_INT < key < _PLAIN_INT:  # the most common key that is no text
            fire(self, step, f"{key}", **data)
            return
        self.record(number, step, key, data)

    fire.__name__ = {0: "emit"}.get(number, kind.name.lower())
    fire.__qualname__ = f"Recorder.{fire.__name__}"  # where pickle finds it
    fire.__doc__ = doc
    return fire


def closed(_record: object) -> bytes:
    """Stands in for the packer while the fast lane must not be used."""
    raise TypeError


class Recorder:
    """A journal behind a few methods. There is none before the first event: `_start` opens it."""

    emit: ProbeCall = _probe(Kind.DEFAULT, "Say that this point was reached. Never blocks, never raises.")
    send: ProbeCall = _probe(Kind.SEND, "Say that something leaves this unit, under `key`. Never blocks, never raises.")
    receive: ProbeCall = _probe(Kind.RECEIVE, "Say that something arrived, under `key`. Never blocks, never raises.")

    def __init__(self) -> None:
        self.reset()

    @property
    def name(self) -> str:
        """The name of the unit."""
        raise NotImplementedError

    def reset(self) -> None:
        """The state of a new recorder; after a fork that of every recorder, whatever the parent was doing with it."""
        self.lock: AbstractContextManager[object] = RLock()
        """Guards the journal. Never held while anything slow is done."""
        self.collector: Collector | None = None
        self.refused = ""
        """Why the broker will not have these events; "" while it will."""
        self._off = False
        self._busy = False
        self._deferred: list[tuple[int, int, str, str | None, dict[str, Any]]] = []
        self._shut_journal()

    def _shut_journal(self) -> None:
        self._journal: Journal | None = None
        self._wake_sender: Callable[[], None] = _no_sender
        self._packer: Callable[[Any], bytes] = closed
        self._pack: Callable[[Any], bytes] = closed
        self._map: Any = b""
        self._words: Any = b""
        self._end = HEADER_BYTES
        self._leaving = False
        """Whether the segment is full, and nothing more may go into it."""
        self._seq = 0
        self._idle = False
        self._will_flush = False

    def _open_journal(self, journal: Journal, wake_sender: Callable[[], None] | None = None) -> None:
        """Events go to `journal` from now on; `wake_sender` is called for one after `arm_wakeup`."""
        self._journal = journal
        self._wake_sender = wake_sender or _no_sender
        self._seq = 0
        self._packer = record_packer(strict=True)
        self._enter(journal.segments[-1])

    def _start(self) -> bool:
        """Opens a journal, or gives False: probes are off. Nothing here can, so they are."""
        self._off = True
        return False

    def outlive_threads(self) -> None:
        """The interpreter will stop all threads but one, and that one may still record."""
        with self.lock:
            self.lock = _LastLock(self.lock, self._abandon)

    def _abandon(self) -> None:
        """A thread that is no more was in the middle of a record: leave its journal as it is."""
        self._busy = False
        self._shut_journal()

    def divert(self, collector: Collector | None) -> None:
        """From now on events go to `collector` and nowhere else; None: to the journal again."""
        with self.lock:
            self.collector = collector
            self._off = False
            self._pack = closed if collector or self._leaving or self._is_dropping else self._packer

    @property
    def last_seq(self) -> int:
        """Sequence number of the last event; 0: none."""
        return self._seq

    def position(self, journal: Journal) -> JournalPosition | None:
        """How far the journal goes: everything stamped up to its stamp is in it. None: it is shut already."""
        with self.lock:
            if self._journal is not journal:
                return None
            self._drain_unless_busy()
            # The numbers last, and both at once: what a finalizer emits while something is called is after the stamp.
            stamp_ns, lost = monotonic_ns(), journal.segments[-1].lost
            return JournalPosition(self._seq, self._end, lost, stamp_ns)

    def arm_wakeup(self, journal: Journal, next_seq: int) -> bool:
        """From now on an event wakes the sender. False if there is one already that is not below `next_seq`."""
        if self._idle:
            return True
        with self.lock:
            self._idle = self._journal is journal and self._seq < next_seq
            return self._journal is not journal or self._idle

    # --- the careful lane ---

    def record(self, kind: int, step: object, key: object, data: dict[str, Any]) -> None:
        """Records anything, or drops and counts it. Raises nothing but what the program's own signal handlers do."""
        try:
            if self._off or not (self.collector or self._journal is not None or self._start()):
                return
            fitting = limits.fit(step, key, data)
            if self.collector is not None:
                self.collector(self.name, int(kind), *fitting)
                return
            while not self._take(kind, *fitting):  # the incarnation has just ended, so this belongs to the next one
                if self._off or not self._start():
                    return
        except Exception as error:
            if handlers.raised(error):
                raise
            self._lose(error)

    def _take(self, kind: int, step: str, key: str | None, data: dict[str, Any]) -> bool:
        """Record what is within the limits, or put it off. False: there is no journal."""
        with self.lock:
            if self._busy:  # a signal handler or a finalizer, in the middle of a probe of this very thread
                self._deferred.append((monotonic_ns(), kind, step, key, data))
                return True
            if self._journal is None:
                return False
            self._busy = True
            try:
                self._append(monotonic_ns(), kind, step, key, data)
            finally:
                self._busy = False
                if self._deferred:
                    self._drain()
            return True

    def expect_flush(self) -> None:
        """The sender will call `flush_deferred`; until then `defer` need not wake it."""
        with self.lock:
            self._will_flush = True

    def flush_deferred(self) -> None:
        """Record what `defer` was given. From now on events wake the sender again, as soon as it sleeps."""
        with self.lock:
            self._will_flush = False
            self._drain_unless_busy()

    def defer(self, kind: int, step: str, key: str | None, data: dict[str, Any]) -> None:
        """Keep an event, of plain values, for a caller that has no time now: it is recorded with the next record or by
        `flush_deferred`, and lost if the process is killed before. Until that call no event wakes the sender."""
        with self.lock:
            if self._journal is None:
                return
            self._deferred.append((monotonic_ns(), kind, step, key, data))
            if self._will_flush:
                self._idle = False
            elif not self._busy:  # the flush is over already: we are late
                self._drain()

    def _drain_unless_busy(self) -> None:
        if self._deferred and not self._busy:
            self._drain()

    def _drain(self) -> None:
        """Records what came in the middle of a record, or had no time. The lock is held, and no record is under way."""
        while self._deferred and self._journal is not None:  # None: the interrupted probe is about to open one
            self._busy = True
            try:
                if self._deferred:  # else a signal handler came just before, and has recorded all
                    stamp_ns, kind, step, key, data = self._deferred.pop(0)
                    self._append(stamp_ns, kind, *limits.fit(step, key, data))
            except Exception as error:  # the record that was interrupted must not be taken for the one that failed
                if handlers.raised(error):
                    raise
                self._lose(error)
            finally:
                self._busy = False

    def _append(self, stamp_ns: int, kind: int, step: str, key: str | None, data: dict[str, Any]) -> None:
        """Packs and commits one record that is within the limits. The lock is held, and there is a journal."""
        seq = self._seq + 1
        try:
            record = self._packer([seq, stamp_ns, step, int(kind), key, data])
        except _CANNOT_PACK as error:
            if handlers.raised(error):
                raise
            record = self._packer([seq, stamp_ns, step, int(kind), key, {TRUNCATED: ["data"]}])
        if self.refused or not self._has_room(len(record)):
            self._drop()
            return
        end = self._end + len(record)
        self._map[self._end : end] = record
        self._seq = seq
        self._end = end
        self._words[0] = end
        if self._idle or kind in _ASKING:
            self._wake()

    def _has_room(self, size: int) -> bool:
        """Makes room for a record, in a new segment if need be: also after a drop, so that what was dropped is always
        what comes behind a segment's last record."""
        assert self._journal is not None
        newest = self._journal.segments[-1]
        if newest.map is not self._map:  # a signal handler raised an exception when it had just begun
            self._enter(newest)
        if not self._leaving and not self._is_dropping and self._end + size <= len(self._map):
            return True
        self._leaving, self._pack = True, closed  # until there is another one, whatever is raised meanwhile
        segment = self._journal.roll(self._seq + 1)
        if segment is None:
            return False
        self._enter(segment)
        self._wake()  # so that the sender makes the next one in time
        return True

    @property
    def _is_dropping(self) -> bool:
        return self._journal is not None and self._journal.segments[-1].lost > 0

    def _enter(self, segment: Segment) -> None:
        self._map, self._words, self._end = segment.map, segment.words, HEADER_BYTES
        self._leaving = False
        self._pack = closed if self.collector else self._packer

    def _drop(self) -> None:
        """One event is lost, and its number with it. The lock is held."""
        if self._journal is not None:
            self._pack = closed  # it must not put a smaller record behind the one that is missing
            self._seq += 1
            self._journal.segments[-1].lose()

    def _lose(self, error: Exception) -> None:
        """What must not happen has happened. The event is counted, and nothing gets out."""
        with handlers.suppressed(Exception):
            with self.lock:
                self._drop()
            warn(f"an event could not be recorded: {type(error).__name__}: {error}")

    def _wake(self) -> None:
        self._idle = False
        self._wake_sender()


class _LastLock:
    """The lock of a recorder whose process ends. What a thread holds when the interpreter stops it, it holds for ever,
    and has left it half done."""

    def __init__(self, lock: Any, abandon: Callable[[], None]) -> None:
        self._lock = lock
        self._abandon = abandon

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=not is_finalizing()):
            self._lock = RLock()
            self._lock.acquire()
            self._abandon()

    def __exit__(self, *_failure: object) -> None:
        self._lock.release()


def _no_sender() -> None:
    """What a recorder without a sender wakes."""
