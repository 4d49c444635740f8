"""`events.log` of a run: its entries as a `LogReader` gives them, searches in it, and a copy of it.

Belongs here: reading the file, finding events in it, and writing the copy of a broker's log on another host. Must not
know what a circuit is or how events are shown. A search that is repeated while the log grows is in `lookup`.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from broker import log
from broker.errors import LogError
from broker.log import Entry
from probe import wire
from probe.event import USER_KINDS, Event
from probe.message import Events, Hello
from probe.sift import sound
from runner.adapters import files
from runner.adapters.history.run_folder import RunFolder
from runner.model.errors import RecordingError


class Recording:
    """Iterates over the entries of a log from byte `offset` on. `torn` tells afterwards, in words, that the log
    ends in the middle of an entry, and where; it is "" for a log that ends well."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.torn = ""
        self._path = path
        self._offset = offset

    def __iter__(self) -> Iterator[Entry]:
        """Raises RecordingError for a log that is missing or damaged; one that ends in the middle of an entry, as a
        crash leaves it, just ends."""
        try:
            yield from log.scan(self._path, self._offset)
        except LogError as error:
            if not error.torn:
                raise _recording_error(self._path, error) from None
            self.torn = f"the log is torn at byte {error.offset:,}"


def entries(path: Path, offset: int = 0) -> Recording:
    """The entries of the log at `path`, in order."""
    return Recording(path, offset)


def find(path: Path, unit: str, step: str, key: str | None, until: int | None = None) -> Event | None:
    """The first event of a unit's own code that fits, in the order of the log up to byte `until` (None: all of it).

    `unit` may be a pattern; `key` None means any. Raises RecordingError.
    """
    for entry in mentions(path, (step,), key or "", until):
        if event := _first(entry, unit, step, key):
            return event
    return None


def mentions(path: Path, words: Collection[str], beside: str = "", until: int | None = None) -> Iterator[Entry]:
    """The entries up to byte `until` (None: all) that have the bytes of one of `words` in them, and those of `beside`;
    without words all of them. Raises RecordingError."""
    # looking for the bytes is a hundred times cheaper than decoding what cannot fit
    marks, other = [word.encode() for word in words] or [b""], beside.encode()
    try:
        for chunk, offset in log.chunks(path):
            if until is not None and offset >= until:
                return
            present = [mark for mark in marks if mark in chunk and other in chunk]
            for start, end in log.bounds(chunk, offset) if present else ():
                if until is not None and offset + end > until:
                    return
                if any(chunk.find(mark, start, end) >= 0 for mark in present) and chunk.find(other, start, end) >= 0:
                    yield from log.entries(chunk[start:end], offset + start)
    except LogError as error:
        if not error.torn:
            raise _recording_error(path, error) from None


def story(log: Path, *, key: str | None = None, unit: str | None = None, step: str | None = None) -> list[Event]:
    """The events of `log` with this key, of this unit, of this step (None: any) in order of time, records of `probe`
    itself included.

    Raises RecordingError when the log cannot be read.
    """
    found: list[Event] = []
    marks = tuple(text.encode() for text in (key, step) if text is not None)
    for entry in entries(log):
        if not isinstance(entry.message, Events) or (unit is not None and entry.unit != unit):
            continue
        if not all(mark in entry.body for mark in marks):
            continue  # a search in raw bytes is a hundred times cheaper than decoding what cannot fit
        records = sound(entry.body, entry.message.first, entry.message.count)
        fitting = [wire.event_of(entry.unit, entry.incarnation, record) for record in records]
        found += [e for e in fitting if (key is None or e.key == key) and (step is None or e.step == step)]
    return sorted(found, key=lambda event: event.stamp_ns)


def run_of(folder: RunFolder) -> str:
    """The id of the run, also of a folder that was renamed: every HELLO in its log has it."""
    with suppress(RecordingError):
        for entry in entries(folder.log):
            if isinstance(entry.message, Hello) and entry.message.run:
                return entry.message.run
    return folder.run


class LogCopy:
    """The log of a run whose broker keeps it on another host, written to a new file at `path` as it is read. It is the
    same, byte by byte, as the broker's up to where it was read."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb", buffering=0, opener=files.opener)  # noqa: SIM115  # until `close`
        self._file.write(log.HEADER)

    def append(self, entries: bytes) -> None:
        """The next whole entries."""
        self._file.write(entries)

    def close(self) -> None:
        """That was all."""
        self._file.close()


def _first(entry: Entry, unit: str, step: str, key: str | None) -> Event | None:
    """The first event in `entry` that fits."""
    if not isinstance(entry.message, Events) or not fnmatchcase(entry.unit, unit):
        return None
    for record in sound(entry.body, entry.message.first, entry.message.count):
        if record[2] == step and record[3] in USER_KINDS and (key is None or record[4] == key):
            return wire.event_of(entry.unit, entry.incarnation, record)
    return None


def _recording_error(path: Path, error: LogError) -> RecordingError:
    text = str(error)
    return RecordingError(text if text.startswith(str(path)) else f"{path}: {text}")
