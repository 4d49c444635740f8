"""Reading what a dead process left: whatever became of the files, what is whole comes back, the rest is named, and
nothing else is hurt."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import message as m
from probe.backlog import Backlog, JournalPosition
from probe.errors import JournalError
from probe.journal import Folder, folders
from probe.recovery import recover
from probe.segment import HEADER_BYTES, MAX_SEGMENT_BYTES, MAX_SEQ, Owner, Segment
from tests.support.broker_process import records
from tests.support.small_broker import SmallBroker

OWNER = Owner("run", "unit", 12345, 42, "boot")
HEAD, LOST, FIRST = 0, 8, 16
NOT_LOST, NOT_FIRST = 56, 64
BOUNDED = settings(max_examples=200, deadline=None)


def make(folder: Path, number: int, first: int, steps: int, lost: int = 0, owner: Owner = OWNER) -> Path:
    """A segment with records from `first` on, and `lost` events behind them; its folder goes by its owner."""
    place = folder / f"{owner.unit}-{owner.incarnation}"
    place.mkdir(exist_ok=True, parents=True)
    path = place / f"{number:06d}.segment"
    segment = Segment.create(path, 2 * HEADER_BYTES, owner)
    segment.begin(first)
    body = records(first, *("step" for _ in range(steps)))
    segment.map[HEADER_BYTES : HEADER_BYTES + len(body)] = body
    segment.words[0] = HEADER_BYTES + len(body)
    for _ in range(lost):
        segment.lose()
    segment.close()
    return path


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def number(value: int) -> bytes:
    return struct.pack("=Q", value)


def inverted(value: int) -> bytes:
    return number(value ^ (2**64 - 1))


@contextmanager
def reading(folder: Path) -> Iterator[list[Segment]]:
    (path,) = folders(folder)
    place = Folder(path)
    try:
        segments, _ = place.segments()
        yield segments
        for segment in segments:
            segment.close()
    finally:
        place.close()


def hear(segments: list[Segment]) -> tuple[dict[int, bytes], list[tuple[int, int]]]:
    """Everything that recovery would say of them: the piece that each record is in, and what is lost."""
    pieces, gaps, expected = {}, [], 1
    last = segments[-1]
    position = JournalPosition((last.last or 0) + last.lost, last.head, last.lost, 0)
    left = Backlog(segments, recovered=True)
    while (taken := left.take(position)) is not None:
        message, body = taken
        with body:
            if isinstance(message, m.Gap):
                assert message.first == expected <= message.last
                gaps.append((message.first, message.last))
                expected = message.last + 1
            else:
                assert message.first == expected
                pieces.update(dict.fromkeys(range(expected, expected + message.count), bytes(body)))
                expected += message.count
    assert expected == position.seq + 1, "something is neither a record nor lost"
    return pieces, gaps


# --- what is said of a journal that was damaged ---


def test_a_whole_journal_is_said_whole(tmp_path: Path) -> None:
    make(tmp_path, 2, 1, 5)
    make(tmp_path, 1, 6, 5, lost=3)
    make(tmp_path, 3, 14, 0)
    with reading(tmp_path) as segments:
        pieces, gaps = hear(segments)
    assert (sorted(pieces), gaps) == ([*range(1, 11)], [(11, 13)])


def test_what_stands_behind_a_damaged_record_is_lost_up_to_the_next_segment(tmp_path: Path) -> None:
    path = make(tmp_path, 1, 1, 9)
    make(tmp_path, 2, 10, 1)
    size = len(records(1, "step"))
    patch(path, HEADER_BYTES + 4 * size, b"\xc1")
    with reading(tmp_path) as segments:
        pieces, gaps = hear(segments)
    assert (sorted(pieces), gaps) == ([1, 2, 3, 4, 10], [(5, 5), (6, 9)])


def test_of_a_last_segment_that_is_damaged_at_least_one_event_is_lost(tmp_path: Path) -> None:
    path = make(tmp_path, 1, 1, 9)
    patch(path, HEADER_BYTES + 4 * len(records(1, "step")), b"\xc1")
    with reading(tmp_path) as segments:
        assert hear(segments)[1] == [(5, 5)]


def test_records_of_a_life_before_are_not_taken_for_the_segments_own(tmp_path: Path) -> None:
    path = make(tmp_path, 1, 100, 3)
    old = records(7, "step", "step")
    end = HEADER_BYTES + len(records(100, *["step"] * 3))
    patch(path, end, old)
    patch(path, HEAD, number(end + len(old)))  # as if what was stored there first had come last
    with reading(tmp_path) as segments:
        pieces, gaps = hear(segments)
    assert (sorted(pieces), gaps) == ([100, 101, 102], [(1, 99), (103, 103)])


def test_a_record_larger_than_any_that_a_unit_writes_is_damage(tmp_path: Path) -> None:
    path = make(tmp_path, 1, 1, 1)
    size = 400_000
    record = b"\x96\x01\x00\xa1s\x00\xc0\xc6" + struct.pack(">I", size) + bytes(size)
    os.truncate(path, 1 << 20)
    patch(path, HEADER_BYTES, record)
    patch(path, HEAD, number(HEADER_BYTES + len(record)))
    with reading(tmp_path) as segments:
        assert hear(segments) == ({}, [(1, 1)])


IMPOSSIBLE: dict[str, tuple[dict[int, bytes], str]] = {
    "a first number that is too large": (
        {FIRST: number(MAX_SEQ + 1), NOT_FIRST: inverted(MAX_SEQ + 1)},
        "damaged: head 4171, first",
    ),
    "more lost than there are numbers": (
        {LOST: number(MAX_SEQ), NOT_LOST: inverted(MAX_SEQ)},
        "lost events behind 5 cannot be",
    ),
    "another magic": ({24: b"x"}, "not a journal of version 2"),
    "another version": ({32: b"\x07"}, "not a journal of version 2"),
    "another incarnation": ({40: b"\x07"}, "its checksum does not agree with whose journal it is"),
    "another name": ({81: b"x"}, "its checksum does not agree with whose journal it is"),
}


@pytest.mark.parametrize(("patches", "why"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_header_that_cannot_be_is_named(tmp_path: Path, patches: dict[int, bytes], why: str) -> None:
    path = make(tmp_path, 1, 1, 5)
    for offset, data in patches.items():
        patch(path, offset, data)
    with pytest.raises(JournalError, match=rf"000001\.segment .*{why}"), reading(tmp_path):
        pass


def test_a_file_larger_than_a_segment_is_not_read_into_memory(tmp_path: Path) -> None:
    path = make(tmp_path, 1, 1, 5)
    os.truncate(path, 1 << 40)
    with pytest.raises(JournalError, match="it has 1099511627776 bytes"), reading(tmp_path):
        pass
    os.truncate(path, MAX_SEGMENT_BYTES)
    with reading(tmp_path) as segments:
        assert sorted(hear(segments)[0]) == [1, 2, 3, 4, 5]


def test_segments_of_two_units_are_no_journal(tmp_path: Path) -> None:
    make(tmp_path, 1, 1, 5)
    path = make(tmp_path / "other", 2, 6, 5, owner=Owner("run", "other", 12345, 42, "boot"))
    path.rename(tmp_path / "unit-12345" / path.name)
    with pytest.raises(JournalError, match=r"000002\.segment is of another journal"), reading(tmp_path):
        pass


def test_two_segments_with_the_same_events_are_no_journal(tmp_path: Path) -> None:
    make(tmp_path, 1, 1, 5, lost=1)
    make(tmp_path, 2, 6, 5)
    with pytest.raises(JournalError, match=r"000001\.segment and \S+000002\.segment have the same events"):
        reading(tmp_path).__enter__()


def test_a_file_that_shrinks_while_it_is_read_kills_no_reader(tmp_path: Path) -> None:
    make(tmp_path, 1, 1, 5)
    code = f"""
import os, pathlib, sys
from probe.segment import Segment
path, = pathlib.Path({str(tmp_path)!r}).glob("*/*.segment")
segment, _ = Segment.open(path)
os.truncate(path, 0)
sys.exit(segment.first + len(bytes(segment.map)) // 8192)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 2


damages = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 2 * HEADER_BYTES), st.just(b"")),
    st.tuples(
        st.just("words"),
        st.sampled_from([HEAD, LOST, FIRST, 48, NOT_LOST, NOT_FIRST]),
        st.integers(0, 2**64 - 1).map(number),
    ),
    st.tuples(st.just("names"), st.integers(24, 100), st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("records"), st.integers(HEADER_BYTES, HEADER_BYTES + 250), st.binary(min_size=1, max_size=30)),
)


@BOUNDED
@given(st.lists(st.tuples(st.integers(0, 2), damages), min_size=1, max_size=3))
def test_whatever_the_damage_what_is_said_is_what_was_emitted_or_a_journal_error(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[int, tuple[str, int, bytes]]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    paths = [make(folder, 1, 1, 10, lost=2), make(folder, 2, 13, 10), make(folder, 3, 23, 10)]
    rewritten = False
    for which, (what, offset, data) in script:
        if what == "cut":
            os.truncate(paths[which], min(offset, paths[which].stat().st_size))
        else:
            patch(paths[which], offset, data)
            rewritten |= what == "records"
    pieces: dict[int, bytes] = {}
    with suppress(JournalError), reading(folder) as segments:
        pieces = hear(segments)[0] if segments else {}
    if not rewritten:
        whole = records(1, *["step"] * 32)
        assert all(piece in whole for piece in pieces.values())


@BOUNDED
@given(st.binary(max_size=300), st.booleans())
def test_a_file_of_any_bytes_is_a_segment_or_a_journal_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, padded: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "000001.segment"
    path.write_bytes(data.ljust(HEADER_BYTES, b"\0") if padded else data)
    with pytest.raises(JournalError, match=r"000001\.segment"):
        Segment.open(path)


# --- and what recovery makes of it ---


def test_damaged_journals_are_named_and_kept_and_all_others_recovered(tmp_path: Path) -> None:
    broker = SmallBroker(tmp_path)
    parent = tmp_path / "journal"
    units = {name: Owner("run", name, number, 42, "boot") for number, name in enumerate("abcdef", 1)}
    good, cut, damaged, huge, crowded, last = (make(parent, 1, 1, 5, owner=owner) for owner in units.values())
    os.truncate(cut, HEADER_BYTES + 3 * len(records(1, "step")) + 1)
    patch(damaged, 81, b"x")
    patch(huge, LOST, number(MAX_SEQ))
    patch(huge, NOT_LOST, inverted(MAX_SEQ))
    (crowded.parent / "notes.txt").write_text("mine")
    (parent / "x-²").mkdir()
    (parent / "y-7").write_text("no folder")
    try:
        found = {each.unit: each for each in recover(parent, broker.endpoint)}
    finally:
        broker.close()
    assert {name: each.events for name, each in found.items()} == {"a": 5, "b": 3, "c": 0, "d": 0, "e": 5, "f": 5}
    assert [(lost.first, lost.last, lost.why) for lost in found["b"].lost] == [(4, 4, "the journal is damaged")]
    assert [name for name, each in found.items() if each.unknown == "its journal is damaged"] == ["b"]
    problems = {name: each.problem for name, each in found.items() if each.problem}
    assert list(problems) == ["c", "d"]
    assert "its checksum does not agree with whose journal it is" in problems["c"]
    assert "is damaged" in problems["d"]
    assert [path.exists() for path in (good, cut, damaged, huge, crowded, last)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert (crowded.parent / "notes.txt").exists(), "what is not ours is not deleted"
