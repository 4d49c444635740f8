"""The first event of a probe in a log that grows: found as reading all of it would find it, without doing so."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import log
from probe import message as m
from probe import wire
from probe.event import Kind
from runner.adapters.history import log_file
from runner.adapters.history import lookup as module
from runner.adapters.history.lookup import Lookup

UNITS = ["w-1", "w-2", "api"]
STEPS = ["got", "done"]
KEYS = [None, "k1", "k2"]

pack = wire.record_packer()
records = st.lists(
    st.tuples(st.sampled_from(STEPS), st.sampled_from([0, 1, int(Kind.WAIT)]), st.sampled_from(KEYS)), max_size=4
)
entries = st.lists(st.tuples(st.sampled_from(UNITS), records), max_size=8)
questions = st.tuples(st.sampled_from([*UNITS, "w-*", "none"]), st.sampled_from(STEPS), st.sampled_from(KEYS))


class Growing:
    """A log that is written and followed at once."""

    def __init__(self, folder: Path) -> None:
        self.log = log.Log(folder / log.FILE_NAME)
        self.lookup = Lookup(self.log.path)

    def add(self, unit: str, said: list[tuple[str, int, str | None]]) -> None:
        body = b"".join(pack([n, n, step, kind, key, None]) for n, (step, kind, key) in enumerate(said, 1))
        begin = self.log.end
        self.log.append([wire.encode_entry(unit, 1, wire.encode(m.Events(1, len(said), 0), body))])
        for entry in log.scan(self.log.path, begin):
            self.lookup.take(entry, wire.unpack_records(entry.body))


@pytest.mark.parametrize("most", [1, module.MOST_PLACES], ids=["more than is remembered", "all is remembered"])
@given(grown=entries, asked=st.lists(questions, max_size=6))
def test_it_finds_what_reading_the_whole_log_finds(
    most: int, grown: list[tuple[str, list[tuple[str, int, str | None]]]], asked: list[tuple[str, str, str | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_PLACES", most)
        growing = Growing(Path(folder))
        for unit, said in grown:
            growing.add(unit, said)
            growing.lookup.expect(step for _, step, _ in asked)
            for question in asked:
                assert growing.lookup.first(*question) == log_file.find(growing.log.path, *question)
        growing.log.close()


def counting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the log has been read from its beginning since."""
    reads = []
    chunks = log.chunks
    monkeypatch.setattr(log, "chunks", lambda path, offset=0: reads.append(offset) or chunks(path, offset))
    return lambda: sum(offset == 0 for offset in reads)


def test_ten_thousand_questions_about_one_probe_read_the_log_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = Growing(tmp_path)
    for start in range(0, 10_000, 1000):
        growing.add("w-1", [("done", 0, f"k{n}") for n in range(start, start + 1000)])
    reads = counting(monkeypatch)
    growing.lookup.expect(["done"] * 10_000)
    found = [growing.lookup.first("w-1", "done", f"k{n}") for n in range(10_000)]
    assert [event and event.key for event in found] == [f"k{n}" for n in range(10_000)]
    assert growing.lookup.first("w-1", "done", "never") is None
    assert reads() == 1
    growing.log.close()


def test_questions_that_come_one_after_the_other_read_it_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = Growing(tmp_path)
    reads = counting(monkeypatch)
    for n in range(100):
        growing.add("w-1", [("done", 0, f"k{n}")])
        growing.lookup.expect(["done"])
        event = growing.lookup.first("w-*", "done", f"k{n}")
        assert event is not None
        assert event.key == f"k{n}"
    assert reads() == 2
    growing.log.close()


def test_questions_about_thousands_of_probes_at_once_read_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = Growing(tmp_path)
    growing.add("w-1", [(f"done-{n}", 0, None) for n in range(3000)])
    reads = counting(monkeypatch)
    growing.lookup.expect([f"done-{n}" for n in range(3000)])
    assert all(growing.lookup.first("w-1", f"done-{n}", None) for n in range(3000))
    assert reads() == 1
    growing.log.close()
