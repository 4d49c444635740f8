"""Journals: bounded, owned by one, readable afterwards, and private."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest

from probe import journal
from probe import segment as segments
from probe.errors import JournalError
from probe.journal import (
    DEFAULT_BOUND,
    FIRST_SEGMENT_BYTES,
    SEGMENT_BYTES,
    SMALLEST_BOUND,
    Folder,
    Journal,
    bound,
    clear,
    folders,
    home,
)
from probe.segment import HEADER_BYTES, Owner, Segment
from tests.support.broker_process import records

OWNER = Owner("run-1", "a/strange: unit", 1234567, 42, "boot")


def test_a_segment_can_be_read_back(tmp_path: Path) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    current = made.segments[0]
    two = records(1, "a", "b")
    current.map[HEADER_BYTES : HEADER_BYTES + len(two)] = two
    current.words[0] = HEADER_BYTES + len(two)
    current.lose()
    made.close()
    (path,) = folders(tmp_path)
    assert path.name == "a_strange__unit-1234567"
    place = Folder(path)
    (segment,), owner = place.segments()
    assert owner == OWNER
    assert (segment.first, segment.last, segment.lost, segment.head) == (1, 2, 1, HEADER_BYTES + len(two))
    segment.close()
    place.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_living_journal_is_locked(tmp_path: Path) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    (path,) = folders(tmp_path)
    with pytest.raises(BlockingIOError):
        Folder(path)
    made.close()
    Folder(path).close()


def test_a_new_journal_is_not_found_before_it_is_locked_and_says_whose_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    reserve = segments._reserve

    def look_and_reserve(file: int, size: int) -> None:
        found.append(list(journal.folders(tmp_path)))
        reserve(file, size)

    monkeypatch.setattr(segments, "_reserve", look_and_reserve)
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    assert found == [[]]
    (path,) = journal.folders(tmp_path)
    assert journal.owner_of(path) == OWNER
    with pytest.raises(BlockingIOError):
        Folder(path)
    assert made.segments[0].path == path / "000001.segment"
    made.remove()
    assert list(tmp_path.iterdir()) == []
    assert journal.owner_of(path) is None


def test_a_journal_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(segments, "_reserve", fail)
    with pytest.raises(OSError, match="no space"):
        Journal(OWNER, Folder.create(tmp_path, OWNER))
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_left_that_was_killed_before_its_journal_could_be_found_is_removed(tmp_path: Path) -> None:
    def leave(name: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "000001.segment").write_bytes(b"half")

    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    leave(f"unit-7.{ended.pid}")
    leave(f"unit-8.{os.getpid()}")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"unit-8.{os.getpid()}"]


def test_growth_is_bounded_and_freed_segments_are_used_again(tmp_path: Path) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER), bound=SMALLEST_BOUND)
    for first in (10, 20, 30):
        assert made.roll(first) is not None
    assert made.bytes == SMALLEST_BOUND
    assert made.roll(40) is None
    assert "1024 KiB are not acknowledged" in made.why_full
    assert [segment.last for segment in made.segments] == [9, 19, 29, None]
    (gone,) = made.free(20)  # the first becomes the spare, the second goes
    gone.remove()
    assert made.bytes == 3 * FIRST_SEGMENT_BYTES
    again = made.roll(40)
    assert again is not None
    assert (again.first, again.last, again.lost, again.head) == (40, None, 0, HEADER_BYTES)
    assert made.why_full == ""
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_segments_grow_until_they_are_large(tmp_path: Path) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    while len(made.segments[-1].map) < SEGMENT_BYTES:
        assert made.roll(made.segments[-1].first + 1) is not None
    assert made.roll(100) is not None
    sizes = [len(segment.map) for segment in made.segments]
    assert sizes == [FIRST_SEGMENT_BYTES << power for power in range(5)] + [SEGMENT_BYTES]
    made.remove()


def test_a_spare_is_wanted_when_the_first_segment_is_half_full_and_from_then_on() -> None:
    made = Journal(OWNER, None)
    assert not made.wants_spare()
    made.segments[0].words[0] = FIRST_SEGMENT_BYTES // 2 + 8
    assert made.wants_spare()
    spare = made.make_spare()
    assert spare is not None
    made.keep(spare)
    assert not made.wants_spare()
    assert made.roll(2) is spare
    assert made.wants_spare()
    made.close()


def test_a_process_that_is_killed_while_it_makes_a_segment_leaves_the_others_readable(tmp_path: Path) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    assert made.place is not None
    made.close()
    (path,) = folders(tmp_path)
    (path / "000002.segment").touch()
    (path / "000003.segment").write_bytes(bytes(HEADER_BYTES))
    place = Folder(path)
    (segment,), owner = place.segments()
    assert owner == OWNER
    segment.close()
    place.remove()


@pytest.mark.parametrize("wrong", ["plenty", "-1", "1e9", "256M", str(SMALLEST_BOUND - 1)])
def test_a_bound_that_makes_no_sense_is_said_once_and_is_the_default(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bound.cache_clear()
    assert [bound(wrong), bound(wrong)] == [DEFAULT_BOUND, DEFAULT_BOUND]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"CIRCUIT_JOURNAL_BYTES={wrong}: expected a number of bytes, at least 1048576" in line


def test_a_bound_is_a_number_of_bytes() -> None:
    assert (bound(""), bound("2000000")) == (DEFAULT_BOUND, 2_000_000)


def test_a_disk_that_refuses_is_a_full_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments, "_reserve", refuse)
        assert made.roll(2) is None
    assert made.why_full == "No space left on device"
    assert sorted(path.name for path in next(folders(tmp_path)).iterdir()) == ["000001.segment"]
    spare = made.make_spare()
    assert spare is not None
    made.keep(spare)
    assert made.roll(2) is spare
    with monkeypatch.context() as patch:
        patch.setattr(segments, "_reserve", refuse)
        assert made.roll(3) is None
        assert made.free(2) == []  # small as it is, on a full disk it is used again
        assert made.roll(3) is not None
    made.remove()


def test_where_a_large_segment_does_not_fit_a_small_one_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Journal(OWNER, Folder.create(tmp_path, OWNER))
    reserve = segments._reserve

    def only_small(file: int, size: int) -> None:
        if size > FIRST_SEGMENT_BYTES:
            raise OSError(28, "No space left on device")
        reserve(file, size)

    monkeypatch.setattr(segments, "_reserve", only_small)
    rolled = made.roll(2)
    assert rolled is not None
    assert len(rolled.map) == FIRST_SEGMENT_BYTES
    assert made.why_full == ""
    made.remove()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 10_000], ids=["empty", "short", "other"])
def test_what_is_no_journal_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "000001.segment"
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"000001\.segment"):
        Segment.open(path)


def test_names_that_do_not_fit_into_a_header_are_refused() -> None:
    with pytest.raises(JournalError, match="too long"):
        Journal(Owner("r" * 5000, "unit", 1, 1, "boot"), None)


def test_journals_of_this_user_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = home("")
    assert path == tmp_path / f"circuit-{os.getuid()}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)
    with pytest.raises(JournalError, match="can be entered by others"):
        home("")


def test_a_configured_folder_is_made(tmp_path: Path) -> None:
    assert home(str(tmp_path / "a" / "b")).is_dir()
    assert list(folders(tmp_path / "missing")) == []
