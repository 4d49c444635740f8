"""The log: what was written comes back, what a crash left is cut off, and damage is named."""

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import log
from broker.errors import LogError
from probe import message as m
from probe import wire
from tests.support.broker_process import records


def entry(first: int, *steps: str, unit: str = "api") -> bytes:
    frames = wire.encode(m.Events(first, len(steps), first), records(first, *steps))
    return wire.encode_entry(unit, 1, frames)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with three entries."""
    path = tmp_path / "events.log"
    writer = log.Log(path)
    writer.append([entry(1, "a", "b"), entry(3, "c")])
    writer.append([entry(4, "d" * 200)])
    writer.close()
    return path


def firsts(path: Path, offset: int = 0) -> list[int]:
    return [found.message.first for found in log.scan(path, offset) if isinstance(found.message, m.Events)]


def test_what_was_written_comes_back_in_order_and_can_be_resumed_behind_each_entry(path: Path) -> None:
    assert firsts(path) == [1, 3, 4]
    ends = [found.end for found in log.scan(path)]
    assert ends[-1] == path.stat().st_size
    assert [firsts(path, end) for end in ends] == [[3, 4], [4], []]


def test_a_tail_cut_anywhere_loses_only_the_entry_it_cuts_and_the_log_goes_on(path: Path) -> None:
    whole = path.read_bytes()
    ends = [found.end for found in log.scan(path)]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        kept = [end for end in ends if end <= size]
        writer = log.Log(path)
        assert writer.end == max([log.START, *kept])
        assert writer.cut == (size - writer.end if size > log.START else 0)
        writer.append([entry(9, "z")])
        writer.close()
        assert firsts(path) == [*[1, 3, 4][: len(kept)], 9]


def test_a_torn_tail_is_distinguished_from_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LogError, match=r"events\.log: the entry at byte \d+ is cut off") as failure:
        list(log.scan(path))
    assert failure.value.torn


TORN_TAILS = {
    "an entry's worth of zeros": bytes(100),
    "less zeros than a header": bytes(5),
    "more zeros than an entry can have": bytes(log.MAX_ENTRY_BYTES + 100),
    "an entry of which only the lengths were written, and zeros behind it": log.PREFIX.pack(50, 1234) + bytes(500),
}


@pytest.mark.parametrize("tail", TORN_TAILS.values(), ids=TORN_TAILS.keys())
def test_zeros_at_the_end_are_what_a_power_failure_leaves(path: Path, tail: bytes) -> None:
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(tail)
    writer = log.Log(path)
    writer.close()
    assert (writer.end, writer.cut, path.stat().st_size) == (size, len(tail), size)


def test_a_wrong_checksum_in_the_last_entry_is_torn_and_before_it_is_damage(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    writer = log.Log(path)
    writer.close()
    assert firsts(path) == [1, 3]
    whole = bytearray(path.read_bytes())
    whole[log.START + 20] ^= 1
    path.write_bytes(whole)
    with pytest.raises(LogError, match="the checksum of the entry at byte 16 is wrong") as failure:
        log.Log(path)
    assert not failure.value.torn
    assert path.read_bytes() == whole, "evidence is not deleted to repair a log"


@pytest.mark.parametrize("behind", range(3))
def test_a_whole_entry_that_means_nothing_is_damage_wherever_it_stands(tmp_path: Path, behind: int) -> None:
    path = tmp_path / "events.log"
    writer = log.Log(path)
    writer.append([entry(1, "a")])
    end = writer.end
    writer.append([b"\x93\xa3api\x01\xc4\x05LATER", *(entry(2, "b") for _ in range(behind))])
    writer.close()
    whole = path.read_bytes()
    with pytest.raises(LogError, match=f"the entry at byte {end}: ") as failure:
        log.Log(path)
    assert (failure.value.offset, failure.value.torn) == (end, False)
    assert path.read_bytes() == whole


steps = st.lists(st.integers(1, 40).map(lambda size: "s" * size), min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, min_size=1, max_size=4), st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_ends_the_log_before_it_and_is_torn_only_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[list[str]], place: int, bit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.log"
    path.unlink(missing_ok=True)
    writer = log.Log(path)
    writer.append([entry(1, *each) for each in payloads])
    writer.close()
    entries = list(log.scan(path))
    whole = bytearray(path.read_bytes())
    place %= len(whole)
    whole[place] ^= 1 << bit
    path.write_bytes(whole)
    before = [found for found in entries if found.end <= place] if place >= log.START else []
    found: list[log.Entry] = []
    with pytest.raises(LogError) as failure:
        found.extend(log.scan(path))
    assert found == before
    if place < log.START:
        assert not failure.value.torn
        return
    begin = before[-1].end if before else log.START
    assert failure.value.offset == begin
    last = len(before) == len(entries) - 1
    if place - begin >= 4:  # else it is the length, and a longer entry looks cut off
        assert failure.value.torn == last
    if failure.value.torn:
        writer = log.Log(path)
        writer.close()
        assert (writer.end, writer.cut) == (begin, len(whole) - begin)
        assert list(log.scan(path)) == before
    else:
        with pytest.raises(LogError):
            log.Log(path)
        assert path.read_bytes() == whole


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_a_file_of_any_bytes_is_a_log_or_a_log_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes(log.HEADER + data if headed else data)
    for read in (lambda: list(log.scan(path)), lambda: log.Log(path).close()):
        with contextlib.suppress(LogError):
            read()


def test_a_length_that_is_none_is_damage(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: log.START] + struct.pack(">II", 2**31, 0) + whole[log.START :])
    with pytest.raises(LogError, match="no entry begins at byte 16"):
        list(log.scan(path))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"hello, this is not a log", "not a log of circuit-run"),
        (b"CIRCUIT\n" + struct.pack(">II", 9, 0), "version 9 of the log, expected 1"),
        (b"CIRCUIT\n" + struct.pack(">II", 1, 9), "not a log of circuit-run"),
        (b"CIRCUIT\n\x01", "not a log of circuit-run"),
    ],
)
def test_a_file_of_another_program_is_left_alone(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "events.log"
    path.write_bytes(content)
    with pytest.raises(LogError, match=why):
        log.Log(path)
    assert path.read_bytes() == content


def test_a_log_has_one_writer(path: Path) -> None:
    writer = log.Log(path)
    with pytest.raises(LogError, match="another broker writes it"):
        log.Log(path)
    writer.close()
    log.Log(path).close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="choose a folder that you may write to"):
        log.Log(tmp_path / "file" / "events.log")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"nowhere\.log: No such file"):
        list(log.scan(tmp_path / "nowhere.log"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=4), max_size=6), st.integers(1, 700))
def test_slices_hold_whole_entries_and_together_are_the_log(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]], limit: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.log"
    writer = log.Log(path)
    for group in groups:
        writer.append([entry(size, "s" * size) for size in group])
    offset, found = log.START, []
    while chunk := writer.read(offset, limit):
        slice_ = list(log.entries(chunk, offset))
        assert len(chunk) <= limit or len(slice_) == 1
        found += slice_
        offset += len(chunk)
    assert offset == writer.end
    assert found == list(log.scan(path))
    writer.close()


def test_an_entry_larger_than_a_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.log"
    writer = log.Log(path)
    frames = wire.encode(m.Events(1, 1, 1), os.urandom(wire.MAX_FRAME_BYTES))
    for _ in range(3):
        writer.append([wire.encode_entry("api", 1, frames), entry(2, "a")])
    writer.close()
    assert firsts(path) == [1, 2] * 3


def test_an_offset_inside_an_entry_is_an_error_not_a_crash(path: Path) -> None:
    writer = log.Log(path)
    for offset in range(log.START + 1, writer.end):
        with contextlib.suppress(LogError):
            assert isinstance(writer.read(offset, 10_000), bytes)
    assert writer.read(writer.end + 5, 100) == b""
    writer.close()


def test_a_full_disk_is_an_error_and_the_log_keeps_what_was_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, size = log.Log(path), path.stat().st_size
    really_write = os.write

    def write_half(fd: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return really_write(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(LogError, match=r"No space left on device \(.*\); nothing after byte"):
        writer.append([entry(5, "e" * 400)])
    writer.close()
    assert path.stat().st_size == size


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_are_entries_or_a_log_error(data: bytes) -> None:
    try:
        list(log.entries(data))
    except LogError:
        return
    assert data == b""
