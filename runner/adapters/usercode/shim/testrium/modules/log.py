"""Reading the log of the run from within a unit.

Belongs here: one connection for the process, which follows the log from its beginning, and knowing when everything that
was emitted before a question is in it: then the watermark of every living unit has passed the moment of the question.
"""

import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import zmq

from probe import clock, environment, wire
from probe import message as m
from probe.connection import open_socket
from probe.errors import WireError
from probe.event import USER_KINDS, Event
from probe.units import all_units

START: Final = 16
"""Offset of the log's first entry; an entry is a length, a checksum, and the payload (docs/wire.md). Not taken from our
package `broker`: in a unit's process a module of that name may be the user's own."""
PREFIX: Final = struct.Struct(">II")
CREDIT_BYTES: Final = 4 * 1024 * 1024
PATIENCE_S: Final = 2.0
"""How long the broker and the units may take to say how far they are."""
ASK_S: Final = 0.01
"""How often units are asked for it."""


class Log:
    """What is in the log, as far as it was read. Safe to use from several threads."""

    _of_process: "Log | None" = None
    _guard = threading.Lock()

    @classmethod
    def of_process(cls) -> "Log":
        """The one of this process; a forked child gets its own."""
        with cls._guard:
            if cls._of_process is None or cls._of_process._pid != os.getpid():
                cls._of_process = Log()
            return cls._of_process

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._settings = environment.read()
        self._events: list[Event] = []
        self._offset = START
        self._limit = 0
        self._end = -1
        """Where the log ended when the broker last said so; negative: not since it was asked."""
        self._living: dict[tuple[str, int], int] = {}
        """Incarnations on this host that have not said FINAL -> their watermark."""
        self._ended: set[tuple[str, int]] = set()
        self._silent: set[tuple[str, int]] = set()
        """Those that did not answer in time: dead, and not recovered yet. They are not waited for again."""
        self._socket: zmq.Socket[bytes] | None = None

    def events(self) -> list[Event]:
        """Everything that was emitted on this host before the call."""
        now_ns = clock.monotonic_ns()
        own = [(one.name, one.incarnation) for one in all_units() if one.incarnation]  # maybe not in the log yet
        with self._lock:
            deadline = clock.monotonic() + PATIENCE_S
            quiet: set[tuple[str, int]] = set()
            self._end = -1
            while self._connected() and clock.monotonic() < deadline:
                stamps = {**dict.fromkeys(own, 0), **self._living}
                quiet = {one for one, ns in stamps.items() if ns < now_ns} - self._ended
                behind = quiet - self._silent
                if 0 <= self._end <= self._offset:
                    if not behind:
                        break
                    self._send(m.Command(tuple({name for name, _ in behind})), wire.encode_order(m.Sync()))
                elif self._end < 0 < self._limit:
                    self._fetch()
                self._read(ASK_S)
            else:
                self._silent |= quiet
            return list(self._events)

    def wait(self, wanted: Callable[[Event], bool], timeout_s: float) -> bool:
        """Whether an event that is `wanted` is in the log, or comes within `timeout_s`."""
        deadline = clock.monotonic() + timeout_s
        if any(map(wanted, self.events())):
            return True
        with self._lock:
            seen = 0
            while self._connected():
                if any(wanted(event) for event in self._events[seen:]):
                    return True
                seen = len(self._events)
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    break
                self._read(left_s)
        return False

    def _connected(self) -> bool:
        """Whether there is a broker to ask; the first time, says who asks."""
        if self._socket is None and self._settings.enabled:
            self._socket = open_socket(zmq.Context())
            self._socket.connect(self._settings.broker)
            self._socket.sndtimeo = int(PATIENCE_S * 1000)
            self._send(m.Hello(m.VERSION, "runner", self._settings.run, pid=self._pid, sdk="circuit-run older"))
        return self._socket is not None

    def _send(self, message: m.Message, *body: bytes) -> None:
        assert self._socket is not None
        self._socket.send_multipart(wire.encode(message, *body))

    def _read(self, timeout_s: float) -> None:
        """Take what has come, after waiting `timeout_s` for it."""
        assert self._socket is not None
        while self._socket.poll(int(timeout_s * 1000)):
            message, body = wire.decode(self._socket.recv_multipart())
            if isinstance(message, m.Welcome):
                self._fetch()
            elif isinstance(message, m.Records):
                self._end = max(self._end, message.end)
                known = self._offset - message.offset  # repeated, when a FETCH crossed it
                if 0 <= known <= len(body):
                    self._offset += len(body) - known
                    for entry in _payloads(body[known:]):
                        self._take(*wire.decode_entry(entry))
                if self._limit - self._offset < CREDIT_BYTES // 2:
                    self._fetch()
            timeout_s = 0.0

    def _fetch(self) -> None:
        self._limit = self._offset + CREDIT_BYTES
        self._send(m.Fetch(self._offset, CREDIT_BYTES))

    def _take(self, unit: str, incarnation: int, message: m.Message, body: bytes) -> None:
        who = unit, incarnation
        if unit.startswith("@"):
            return
        if isinstance(message, m.Hello) and message.host == clock.boot_id() and who not in self._ended:
            self._living.setdefault(who, 0)
        elif isinstance(message, m.Final):
            self._living.pop(who, None)
            self._ended.add(who)
        elif isinstance(message, m.Events):
            if who in self._living:
                self._living[who] = max(self._living[who], message.watermark_ns)
            self._events += _events(unit, incarnation, body)


def _payloads(records: bytes) -> Iterator[memoryview]:
    view, start = memoryview(records), 0
    while start < len(records):
        length, _checksum = PREFIX.unpack_from(records, start)
        start += PREFIX.size + length
        yield view[start - length : start]


def _events(unit: str, incarnation: int, body: bytes) -> Iterator[Event]:
    """The events of user code in an EVENTS body."""
    records: list[Any] = []
    try:
        records = wire.unpack_records(body)
    except WireError:  # what a unit of some other make has said; the verifier has counted it
        return
    for record in records:
        with suppress(WireError):
            event = wire.event_of(unit, incarnation, record)
            if event.kind in USER_KINDS:
                yield event
