"""Whatever is emitted, dropped, acknowledged and said again: the broker can put the journal together exactly."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe import backlog, journal, wire
from probe import message as m
from probe.backlog import NOTHING, Backlog, JournalPosition
from probe.journal import Journal
from probe.segment import HEADER_BYTES, Owner

OWNER = Owner("run", "unit", 1, 1, "boot")


class Writer:
    """Fills a journal in memory as a unit does."""

    def __init__(self, bound: int = 1 << 20) -> None:
        self.journal = Journal(OWNER, None, bound)
        self.end = HEADER_BYTES
        self.seq = 0
        self.kept: set[int] = set()
        self._pack = wire.record_packer()

    def emit(self, size: int) -> None:
        self.seq += 1
        record = self._pack([self.seq, self.seq, "s", 0, None, {"x": "x" * size}])
        current = self.journal.segments[-1]
        if current.lost or self.end + len(record) > len(current.map):
            rolled = self.journal.roll(self.seq)
            if rolled is None:
                current.lose()
                return
            current, self.end = rolled, HEADER_BYTES
        current.map[self.end : self.end + len(record)] = record
        self.end += len(record)
        current.words[0] = self.end
        self.kept.add(self.seq)

    @property
    def position(self) -> JournalPosition:
        return JournalPosition(self.seq, self.end, self.journal.segments[-1].lost, self.seq)


@contextmanager
def writer(bound: int = 1 << 20) -> Iterator[Writer]:
    made = Writer(bound)
    yield made
    made.journal.close()


def hear(found: Backlog, position: JournalPosition) -> tuple[list[int], list[tuple[int, int]]]:
    """Takes everything: (sequence numbers of records, ranges of gaps)."""
    seqs, gaps = [], []
    while (taken := found.take(position)) is not None:
        message, body = taken
        with body:
            if isinstance(message, m.Gap):
                gaps.append((message.first, message.last))
            else:
                records = wire.unpack_records(body)
                assert [record[0] for record in records] == list(range(message.first, message.first + message.count))
                assert len(body) <= backlog.MAX_BODY_BYTES
                seqs += [record[0] for record in records]
    return seqs, gaps


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FIRST_SEGMENT_BYTES", 8 * 1024)
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 8 * 1024)
    monkeypatch.setattr(backlog, "MAX_BODY_BYTES", 2 * 1024)


def test_of_an_empty_journal_there_is_nothing_to_say() -> None:
    with writer() as unit:
        assert Backlog(unit.journal.segments).take(unit.position) is None
        assert Backlog(unit.journal.segments).take(NOTHING) is None


def test_only_the_last_piece_carries_the_new_watermark() -> None:
    with writer() as unit:
        for _ in range(300):
            unit.emit(20)
        found = Backlog(unit.journal.segments)
        watermarks = []
        while (taken := found.take(unit.position)) is not None:
            assert isinstance(taken[0], m.Events)
            watermarks.append(taken[0].watermark_ns)
            taken[1].release()
        assert watermarks == [0] * (len(watermarks) - 1) + [300]
        assert len(watermarks) > 3


def test_an_acknowledgement_that_brings_nothing_new_means_go_back() -> None:
    with writer() as unit:
        for _ in range(10):
            unit.emit(1)
        found = Backlog(unit.journal.segments)
        assert hear(found, unit.position)[0] == list(range(1, 11))
        found.ack(1)
        assert hear(found, unit.position)[0] == list(range(1, 11))
        found.ack(11)
        assert found.all_acked
        assert found.bytes_under_way == 0


def test_what_was_freed_already_is_a_gap() -> None:
    with writer() as unit:
        for _ in range(500):
            unit.emit(50)
        found = Backlog(unit.journal.segments)
        hear(found, unit.position)
        found.ack(unit.seq + 1)
        unit.journal.free(found.acked)
        found.freed()
        first = unit.journal.segments[0].first
        found.rewind(5)  # a broker that has lost its log
        seqs, gaps = hear(found, unit.position)
        assert gaps == [(5, first - 1)]
        assert seqs == list(range(first, 501))


steps = st.one_of(
    st.tuples(st.just("emit"), st.integers(1, 60), st.integers(0, 300)),
    st.tuples(st.just("hear"), st.just(0), st.just(0)),
    st.tuples(st.just("ack"), st.floats(0, 1), st.just(0)),
    st.tuples(st.just("reconnect"), st.just(0), st.just(0)),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from([16, 24, 64]))
def test_records_and_gaps_together_are_everything(script: list[tuple[str, float, int]], bound_kb: int) -> None:
    with writer(bound_kb * 1024) as unit:
        found = Backlog(unit.journal.segments)
        logged: dict[int, str] = {}
        wanted = 1

        def listen() -> None:
            nonlocal wanted
            seqs, gaps = hear(found, unit.position)
            logged.update({seq: "record" for seq in seqs if seq >= wanted})
            for first, last in gaps:
                logged.update(dict.fromkeys(range(max(first, wanted), last + 1), "gap"))
            wanted = max(wanted, max(logged, default=0) + 1)

        for what, amount, size in script:
            if what == "emit":
                for _ in range(int(amount)):
                    unit.emit(size)
            elif what == "hear":
                listen()
            elif what == "ack":
                below = found.acked + round(amount * (wanted - found.acked))
                if below > found.acked:
                    found.ack(below)
                    unit.journal.free(found.acked)
                    found.freed()
            else:
                found.rewind(wanted)
        listen()
        assert sorted(logged) == list(range(1, unit.seq + 1))
        assert {seq for seq, what in logged.items() if what == "record"} == unit.kept
