"""What is fuzzed: every reader of bytes that come from outside, one function each.

A target takes any bytes and returns, or raises because the reader broke its word: an exception that it does not
announce, or a value that is not what was written. Belongs here: that, and what the reader promises. Must not know who
makes the bytes up: the same functions run under a fuzzer and under pytest.
"""

import atexit
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, get_args
from zlib import crc32

from broker import keyring, log
from broker.errors import KeyringError, LogError
from probe import keys, wire
from probe.backlog import MAX_BODY_BYTES, Backlog, JournalPosition
from probe.errors import JournalError, KeysError, WireError
from probe.event import Event
from probe.journal import Folder
from probe.message import Gap, Message, Ship, Start
from probe.segment import HEADER_BYTES, Owner, Segment
from probe.sift import numbered_bounds, sift, why_not
from runner.adapters.supervisor.config import SupervisorConfig
from runner.adapters.supervisor.work_dir import WorkDir
from runner.core.clocks import Timeline
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.model.errors import NothingToRun, ScenarioError, UsageError
from runner.model.scenario import load
from runner.model.scenario.model import Scenario, Unit
from runner.session.remote_output import RemoteOutput

SEPARATOR: Final = b"\n---\n"
"""Between the entries of one log, and between the files of one folder."""
WORDS: Final = [kind.__name__.upper().encode() for kind in get_args(Message)]
FLIPPED: Final = 20
"""So many records are in a journal whose bits flip."""
HEADER_GIVEN: Final = 128
"""So many bytes of a segment's header are given; the rest is zeros, which teach a fuzzer nothing."""


def message(data: bytes) -> None:
    """A message: the first byte says which, the others are its header."""
    try:
        found, body = wire.decode([WORDS[data[0] % len(WORDS)], data[1:]] if data else [])
    except WireError:
        return
    again = [bytes(frame) for frame in wire.encode(found, body)]
    found, body = wire.decode(again)
    assert [bytes(frame) for frame in wire.encode(found, body)] == again


def command(data: bytes) -> None:
    """The body of a COMMAND."""
    try:
        again = wire.encode_order(wire.decode_order(data))
    except WireError:
        return
    assert wire.encode_order(wire.decode_order(again)) == again


def records(data: bytes) -> None:
    """The body of EVENTS."""
    ends = list(wire.record_bounds(data))
    assert ends == sorted(set(ends))
    assert all(0 < end <= len(data) for end in ends)
    try:
        found = wire.unpack_records(data)
    except WireError:
        return
    assert len(found) == len(ends)
    places, surplus = sift(data, len(found))
    assert (len(places), surplus) == (len(found), False)
    for number, place in enumerate(places):
        if not why_not(place, found[number][0]):
            assert isinstance(wire.event_of("unit", 1, found[number]), Event)
    for record in found:
        with suppress(WireError):
            assert isinstance(wire.event_of("unit", 1, record), Event)
    if found and type(found[0][0]) is int:
        numbered = list(numbered_bounds(data, found[0][0]))
        assert numbered == ends[: len(numbered)]


def entry(data: bytes) -> None:
    """The payload of a log entry."""
    try:
        unit, incarnation, found, body = wire.decode_entry(data)
    except WireError:
        return
    again = wire.encode_entry(unit, incarnation, wire.encode(found, body))
    assert wire.decode_entry(again)[:2] == (unit, incarnation)


def log_file(data: bytes) -> None:
    """`events.log`: what a reader gets, and what a broker that goes on with it leaves."""
    path = _write(_place() / "log" / "events.log", data)
    found: list[log.Entry] = []
    wrong: LogError | None = None
    try:
        found.extend(log.scan(path))
    except LogError as error:
        wrong = error
    ends = [log.START, *(each.end for each in found)]
    assert ends == sorted(set(ends))
    assert wrong is None or wrong.offset in (0, ends[-1])
    remembered: list[log.Entry] = []
    try:
        log.Log(path, remembered.append).close()
    except LogError:
        assert wrong is not None
        assert not wrong.torn
        assert path.read_bytes() == data
        return
    assert wrong is None or wrong.torn or not data
    assert remembered == found == list(log.scan(path))


def entries(data: bytes) -> None:
    """A log whose checksums are right, which no fuzzer would find by itself: whole entries, and a rest."""
    *payloads, rest = data.split(SEPARATOR)
    framed = (log.PREFIX.pack(len(payload), crc32(payload)) + payload for payload in payloads)
    log_file(log.HEADER + b"".join(framed) + rest)


def journal(data: bytes) -> None:
    """The segments of a journal, read and said as recovery does it."""
    folder = _place() / "unit-1"
    for number, part in enumerate(data.split(SEPARATOR, 3)):
        content = part[:HEADER_GIVEN].ljust(HEADER_BYTES, b"\0") + part[HEADER_GIVEN:]
        _write(folder / f"{number:06d}.segment", content)
    place = Folder(folder)
    try:
        segments, owner = place.segments()
        assert (owner is None) == (not segments)
        if segments:
            _walk(segments)
        for segment in segments:
            segment.close()
    except JournalError:
        pass
    finally:
        place.remove()


def _walk(segments: list[Segment]) -> None:
    last = segments[-1]
    point = JournalPosition((last.last or 0) + last.lost, last.head, last.lost, 0)
    tail, expected = Backlog(segments, recovered=True), 1
    while (taken := tail.take(point)) is not None:
        found, body = taken
        with body:
            wire.encode(found)
            assert found.first == expected
            assert len(body) <= MAX_BODY_BYTES
            if isinstance(found, Gap):
                expected = found.last + 1
            else:
                expected += found.count
                assert [record[0] for record in wire.unpack_records(body)] == list(range(found.first, expected))
    assert expected == point.seq + 1


def flipped_journal(data: bytes) -> None:
    """What flips in a journal of which all is summed up: a place (two bytes), and which bits flip from there on. What
    is said of it for certain is what was emitted."""
    content = bytearray(_summed_up())
    for place, flips in enumerate(data[2:], int.from_bytes(data[:2], "big") % len(content)):
        if place < len(content):
            content[place] ^= flips
    folder = _place() / "unit-1"
    _write(folder / "000001.segment", bytes(content))
    found_in = Folder(folder)
    try:
        segments, _ = found_in.segments()
        for segment in segments:
            said = bytes(segment.map[HEADER_BYTES : segment.head])
            assert said in _summed_up()
            assert segment.is_damaged or segment.last == FLIPPED
            segment.close()
    except JournalError:
        pass
    finally:
        found_in.remove()


@cache
def _summed_up() -> bytes:
    segment = Segment.create(None, 2 * HEADER_BYTES, Owner("run", "unit", 1, 2, "boot"))
    segment.begin(1)
    pack = wire.record_packer()
    body = b"".join(pack([n, 10**9 + n, "step", 0, f"key-{n}", {"n": n}]) for n in range(1, FLIPPED + 1))
    segment.map[HEADER_BYTES : HEADER_BYTES + len(body)] = body
    segment.words[0] = HEADER_BYTES + len(body)
    segment.check()
    content = bytes(segment.map)
    segment.close()
    return content


def key_file(data: bytes) -> None:
    """A file of keys."""
    try:
        found = keys.parse(data.decode("utf-8", "replace"), "a file")
    except KeysError:
        return
    assert keys.parse(found.text(), "what was written") == found


def key_list(data: bytes) -> None:
    """The list of a keyring."""
    folder = _place() / "keys"
    keyring.create(folder)
    _write(folder / keyring.ACCESS, data)
    try:
        found = keyring.listed(folder)
    except KeyringError:
        return
    _write(folder / keyring.ACCESS, "".join(map(keyring._line, found)).encode())
    assert keyring.listed(folder) == found


def scenario(data: bytes) -> None:
    """A `circuit.toml`."""
    with suppress(ScenarioError):
        load(_write(_place() / "scenario" / "circuit.toml", data))


def older_scenario(data: bytes) -> None:
    """A folder of the older shape: config.toml and a unit."""
    folder = _place() / "older"
    config, _, unit = data.partition(SEPARATOR)
    _write(folder / "config.toml", config)
    _write(folder / "units" / "a.toml", unit)
    with suppress(ScenarioError, NothingToRun):
        load(folder)


def clock_reports(data: bytes) -> None:
    """What a host says of its clock: records, of which those that are reports count. What they leave is a timeline on
    which nothing runs backwards."""
    timeline = Timeline("here")
    timeline.join("@lab", 1, "there")
    with suppress(WireError):
        for record in wire.unpack_records(data):
            if len(record) == 6:
                timeline.report("@lab", 1, record[1], record[5])
    timeline.close()
    stamps = [0, 1, 10**9, 10**9 + 250_000_000, 10**12, 2**62]
    moments = timeline.to_common_all("@lab", 1, stamps)
    assert moments == sorted(moments)
    assert all(timeline.error("@lab", moment, "api", moment) >= 0 for moment in moments)
    timeline.estimates(10**9)


def supervisor_events(data: bytes) -> None:
    """What a supervisor on another host says, to whoever believes it: the rules of units, and their files."""
    units = (Unit("a", command=("x",), host="lab"), Unit("b", entrypoint="m:f", host="lab"))
    lifecycle = Lifecycle(Scenario("s", "/", "f", units), lambda unit: Start(unit.name, (), "", {}, "", ""), 0)
    fetched = RemoteOutput(_folder("fetched"), {"a": "@lab", "b": "@lab"})
    with suppress(WireError):
        for record in wire.unpack_records(data):
            with suppress(WireError):
                event = wire.event_of("@lab", 1, record)
                lifecycle.event(event)
                fetched.take(event)
    lifecycle.tick(1)
    lifecycle.units.statuses()
    lifecycle.units.findings()
    assert all(path.stat().st_size < 1 << 30 for path in _folder("fetched").iterdir())
    assert {path.name for path in _folder("fetched").iterdir()} <= {"a.out", "a.err", "b.out", "b.err"}


def config(data: bytes) -> None:
    """The line that tells a supervisor where its run is."""
    try:
        found = SupervisorConfig.parse(data.decode("utf-8", "replace"))
    except UsageError:
        return
    assert SupervisorConfig.parse(found.text()) == found


def shipped_folder(data: bytes) -> None:
    """A scenario's folder, as tar and gzip: whatever is in it, nothing gets out of its place."""
    os.environ["XDG_STATE_HOME"] = str(_folder("state"))
    here = WorkDir("ipc:///none", "run-1", "lab", "")
    try:
        here.ship(Ship(0, len(data), data))
    finally:
        here.close()
    assert list(_folder("state").iterdir()) == []


def _folder(name: str) -> Path:
    folder = _place() / name
    folder.mkdir(exist_ok=True)
    return folder


@cache
def _place() -> Path:
    """An empty folder, removed when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="circuit-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True, mode=0o700)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return path


_ALL: Final = (
    message,
    command,
    records,
    entry,
    log_file,
    entries,
    journal,
    flipped_journal,
    key_file,
    key_list,
    scenario,
    older_scenario,
    clock_reports,
    supervisor_events,
    config,
    shipped_folder,
)
TARGETS: Final = {target.__name__.replace("_", "-"): target for target in _ALL}
"""Every target, by the name that `make fuzz` calls it."""
