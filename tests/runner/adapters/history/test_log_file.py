"""The log of a run, read from its file: the same entries as live, and the search for a probe that fired long ago."""

from pathlib import Path

import pytest

from broker import log
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.adapters.history import log_file
from runner.model.errors import RecordingError
from tests.support.broker_process import records


def written(path: Path, *bodies: tuple[str, int, bytes]) -> Path:
    """A log with one EVENTS entry per (unit, how many records, body)."""
    writer = log.Log(path / "events.log")
    for unit, count, body in bodies:
        writer.append([wire.encode_entry(unit, 1, wire.encode(m.Events(1, count, 0), body))])
    writer.close()
    return writer.path


def test_entries_are_those_of_the_log(tmp_path: Path) -> None:
    path = written(tmp_path, ("api", 1, records(1, "a")), ("worker", 1, records(1, "b")))
    recording = log_file.entries(path)
    entries = list(recording)
    assert entries == list(log.scan(path))
    assert recording.torn == ""
    assert list(log_file.entries(path, entries[0].end)) == entries[1:]


def test_a_torn_tail_ends_the_replay_and_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, ("api", 1, records(1, "a")), ("api", 1, records(2, "b")))
    path.write_bytes(path.read_bytes()[:-3])
    recording = log_file.entries(path)
    (entry,) = recording
    assert recording.torn == f"the log is torn at byte {entry.end}"
    assert log_file.find(path, "api", "b", None) is None


def test_a_recording_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "events.log"
    for read in (lambda path: list(log_file.entries(path)), lambda path: log_file.find(path, "api", "a", None)):
        with pytest.raises(RecordingError, match=r"nowhere/events\.log: No such file"):
            read(missing)
    path = written(tmp_path, ("api", 1, records(1, "a")), ("api", 1, records(2, "b")))
    whole = bytearray(path.read_bytes())
    whole[log.START + 30] ^= 255
    path.write_bytes(whole)
    with pytest.raises(RecordingError, match=r"events\.log: the checksum of the entry at byte 16 is wrong"):
        list(log_file.entries(path))


def test_find_gives_the_first_event_that_fits(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        ("api", 2, records(1, "sent", "done")),
        ("worker-1", 2, records(1, "got", "done")),
        ("worker-2", 2, records(1, "got", "done")),
    )

    def found(unit: str, step: str, key: str | None, until: int | None = None) -> tuple[str, int] | None:
        event = log_file.find(path, unit, step, key, until)
        return event and (event.unit, event.seq)

    assert found("api", "done", None) == ("api", 2)
    assert found("api", "done", "k2") == ("api", 2)
    assert found("api", "done", "k1") is None
    assert found("worker-2", "got", "k1") == ("worker-2", 1)
    assert found("worker-*", "done", None) == ("worker-1", 2)
    assert found("api", "don", None) is None
    first, *_ = log.scan(path)
    assert found("api", "done", None, first.end) == ("api", 2)
    assert found("worker-1", "got", None, first.end) is None


def test_find_looks_at_what_units_emit_not_at_what_they_ask_for(tmp_path: Path) -> None:
    pack = wire.record_packer()
    asked = pack([1, 1, "go", int(Kind.WAIT), None, None]) + pack([2, 2, "go", int(Kind.ARRIVE), None, None])
    path = written(tmp_path, ("api", 2, asked))
    assert log_file.find(path, "api", "go", None) is None
    path = written(tmp_path / "more", ("api", 3, asked + pack([3, 3, "go", int(Kind.SEND), None, None])))
    event = log_file.find(path, "api", "go", None)
    assert event is not None
    assert event.seq == 3


def test_find_passes_over_rubbish(tmp_path: Path) -> None:
    path = written(tmp_path, ("api", 1, b"\xa2go\xc1"), ("api", 1, records(1, "go")))
    event = log_file.find(path, "api", "go", None)
    assert event is not None
    assert event.seq == 1
