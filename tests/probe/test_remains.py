"""Bits that flip in what a dead process has left: what is said of it afterwards was emitted, or is marked as uncertain.

What was summed up (by the sender, or by recovery that could not publish the journal) is safe whatever flips. What was
not summed up is safe as far as its form tells: a flip inside a stamp, a step, a key or data is not seen.
"""

import os
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import message as m
from probe import wire
from probe.backlog import Backlog, JournalPosition
from probe.errors import JournalError
from probe.journal import Folder, folders
from probe.layout import CHECKED, FIRST, HEAD, HEADER_BYTES, NOT_FIRST, WIPING, Owner
from probe.recovery import DAMAGED, recover
from probe.segment import Segment
from tests.support.broker_process import RUN, records
from tests.support.scenarios import PATIENCE_S, poll
from tests.support.small_broker import SmallBroker

OWNER = Owner("run", "unit", 12345, 42, "boot")
MANY = settings(max_examples=400, deadline=None)
STEPS = ["begun", "order-sent", "x", "order-received", "done", "a-step-with-a-long-name", "y"]
BODY = records(1, *STEPS)
ENDS = [0, *wire.record_bounds(BODY)]
TRUE = {number: BODY[start:end] for number, (start, end) in enumerate(pairwise(ENDS), 1)}
SIZE = 2 * HEADER_BYTES
USED = [*range(80 + len("run\0unit\0boot\0")), *range(HEADER_BYTES, HEADER_BYTES + len(BODY) + 40)]
"""The bytes of such a segment that mean something, and some behind them."""


class Said(NamedTuple):
    """What recovery says of a journal: its records by their numbers, and whether all of that is certain."""

    events: dict[int, bytes]
    last: int
    certain: bool


UNREADABLE = Said({}, 0, False)


def segment_in(folder: Path, summed: int, version: int = 2) -> Path:
    """The journal of a dead process, of whose records the first `summed` are summed up."""
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / "unit-12345"
    place.mkdir(parents=True)
    path = place / "000001.segment"
    segment = Segment.create(path, SIZE, OWNER)
    segment.begin(1)
    segment.map[HEADER_BYTES : HEADER_BYTES + len(BODY)] = BODY
    for number in (summed, len(STEPS)):
        segment.words[HEAD] = HEADER_BYTES + ENDS[number]
        if number == summed:
            segment.check()
    if version == 1:
        fixed = struct.pack("=8sIIQ", b"CIRCUITJ", 1, OWNER.pid, OWNER.incarnation)
        segment.map[24:HEADER_BYTES] = (fixed + b"run\0unit\0boot\0").ljust(HEADER_BYTES - 24, b"\0")
    segment.close()
    return path


def flip(path: Path, bits: list[tuple[int, int]]) -> None:
    content = bytearray(path.read_bytes())
    for byte, bit in bits:
        content[byte] ^= 1 << bit
    path.write_bytes(content)


def read(folder: Path) -> Said:
    (path,) = folders(folder)
    try:
        with closing(Folder(path)) as place:
            segments, owner = place.segments()
            if not segments:
                return Said({}, 0, True)
            assert owner == OWNER
            said = say(segments)
            for segment in segments:
                segment.close()
            return said
    except JournalError:
        return UNREADABLE


def say(segments: list[Segment]) -> Said:
    last = segments[-1]
    position = JournalPosition((last.last or 0) + last.lost, last.head, last.lost, 0)
    left = Backlog(segments, recovered=True)
    events: dict[int, bytes] = {}
    certain = not any(segment.is_damaged for segment in segments)
    while (taken := left.take(position)) is not None:
        message, body = taken
        with body:
            if isinstance(message, m.Gap):
                certain = False
                continue
            ends = [0, *wire.record_bounds(body)]
            assert len(ends) == message.count + 1
            for number, (start, end) in enumerate(pairwise(ends), message.first):
                events[number] = bytes(body[start:end])
    return Said(events, position.seq, certain)


def some_bits(most: int, least: int = 1) -> st.SearchStrategy[list[tuple[int, int]]]:
    return st.lists(st.tuples(st.sampled_from(USED), st.integers(0, 7)), min_size=least, max_size=most, unique=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "flipped"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("summed", [0, 4, 7])
def test_a_journal_that_was_not_touched_is_read_whole_also_one_of_an_older_version(
    folder: Path, version: int, summed: int
) -> None:
    segment_in(folder, summed, version)
    assert read(folder) == Said(TRUE, 7, certain=True)


@MANY
@given(some_bits(2))
def test_of_what_was_summed_up_nothing_is_said_for_certain_that_was_not_emitted(
    folder: Path, bits: list[tuple[int, int]]
) -> None:
    flip(segment_in(folder, len(STEPS)), bits)
    said = read(folder)
    assert said.events.items() <= TRUE.items()
    assert said == Said(TRUE, 7, certain=True) or not said.certain


@MANY
@given(st.integers(0, 7), st.sampled_from(USED), st.integers(0, 7))
def test_one_flipped_bit_changes_for_certain_only_the_record_it_is_in_and_none_that_was_summed_up(
    folder: Path, summed: int, byte: int, bit: int
) -> None:
    flip(segment_in(folder, summed), [(byte, bit)])
    said = read(folder)
    hit = next(
        (number for number, (start, end) in enumerate(pairwise(ENDS), 1) if start <= byte - HEADER_BYTES < end), 0
    )
    changed = {number for number, event in said.events.items() if event != TRUE.get(number)}
    assert changed <= ({hit} if hit > summed else set())
    if said.certain:
        assert set(said.events) >= set(range(1, 7))  # a head that is one record too low hides the last, and no other
        assert byte < 8 or set(said.events) == set(TRUE)


@MANY
@given(some_bits(6))
def test_whatever_flips_numbers_are_those_of_records_that_were_emitted(
    folder: Path, bits: list[tuple[int, int]]
) -> None:
    flip(segment_in(folder, 3), bits)
    said = read(folder)
    assert set(said.events) <= set(TRUE)
    if said.certain:
        assert {number: said.events[number] for number in (1, 2, 3)} == {number: TRUE[number] for number in (1, 2, 3)}


def test_a_first_number_that_flipped_to_zero_is_not_taken_for_a_spare(folder: Path) -> None:
    flip(segment_in(folder, 0), [(8 * FIRST, 0)])
    assert read(folder) == Said(TRUE, 7, certain=False)


def test_a_head_that_flipped_back_hides_nothing(folder: Path) -> None:
    path = segment_in(folder, 0)
    content = bytearray(path.read_bytes())
    content[:8] = struct.pack("=Q", HEADER_BYTES + ENDS[2])
    path.write_bytes(content)
    said = read(folder)
    assert not said.certain
    assert set(said.events) == {1, 2, 3, 4, 5, 6}, "the last one may be half a record"


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_process_that_is_killed_while_it_wipes_a_segment_leaves_a_spare_or_all_of_it(folder: Path, stop: int) -> None:
    """`stop` stores were done."""
    path = segment_in(folder, 0)
    with path.open("r+b") as file:
        stores = [(NOT_FIRST, WIPING), (FIRST, 0), (HEAD, HEADER_BYTES), (1, 0), (7, 2**64 - 1), (CHECKED, 0)]
        for word, value in [*stores, (NOT_FIRST, 2**64 - 1)][:stop]:
            os.pwrite(file.fileno(), struct.pack("=Q", value), 8 * word)
    assert read(folder) == Said({}, 0, certain=True)


UNIT = """
import os, probe
for number in range(200):
    probe.emit("counted", key=f"order-{number}")
open("emitted", "w").close()
os.read(0, 1)
"""


def lonely_unit(folder: Path) -> Path:
    """The segment of a unit that found no broker, once its sender has summed up all of it, and of which only the
    journal is left."""
    variables = {"CIRCUIT_RUN": RUN, "CIRCUIT_UNIT": "u", "CIRCUIT_JOURNAL": str(folder / "journal")}
    env = os.environ | variables | {"CIRCUIT_BROKER": f"ipc://{folder}/absent"}
    with subprocess.Popen([sys.executable, "-c", UNIT], cwd=folder, env=env, stdin=subprocess.PIPE) as unit:
        try:
            assert poll((folder / "emitted").exists)
            (path,) = (folder / "journal").glob("u-*/*.segment")
            assert poll(lambda: word(path, CHECKED) & 0xFFFFFFFF == word(path, HEAD))
        finally:
            unit.send_signal(signal.SIGKILL)
            unit.wait(PATIENCE_S)
    return path


def word(path: Path, place: int) -> int:
    return int(struct.unpack_from("=Q", path.read_bytes(), 8 * place)[0])


def test_the_sender_sums_up_what_it_cannot_send_and_a_flipped_key_is_lost_evidence(tmp_path: Path) -> None:
    path = lonely_unit(tmp_path)
    place = path.read_bytes().index(b"order-117")
    flip(path, [(place + 8, 0)])  # order-116
    broker = SmallBroker(tmp_path)
    try:
        (found,) = recover(tmp_path / "journal", broker.endpoint)
    finally:
        broker.close()
    assert (found.problem, found.unknown, found.events) == ("", DAMAGED, 0)
    assert [(lost.first, lost.last, lost.why) for lost in found.lost] == [(1, 200, "the journal is damaged")]
    assert not path.exists()


def test_recovery_that_cannot_publish_a_journal_sums_it_up(tmp_path: Path) -> None:
    path = segment_in(tmp_path / "journal", 0)
    (found,) = recover(tmp_path / "journal", f"ipc://{tmp_path}/absent", timeout_s=0.2)
    assert found.problem
    assert word(path, CHECKED) & 0xFFFFFFFF == HEADER_BYTES + len(BODY)
    assert read(tmp_path / "journal") == Said(TRUE, 7, certain=True)
    flip(path, [(HEADER_BYTES + ENDS[5] + 10, 3)])
    assert read(tmp_path / "journal") == Said({}, 7, certain=False)
