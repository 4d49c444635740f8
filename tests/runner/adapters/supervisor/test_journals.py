"""What a supervisor sees in the folder of a run: each process that has emitted anything, and which of them have
ended."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probe.clock import monotonic_ns
from probe.journal import Folder, Journal
from probe.segment import Owner
from runner.adapters.supervisor import journals
from runner.adapters.supervisor.journals import Journals

Keep = Callable[..., Journal]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Begins the journal of a unit's incarnation."""
    made = []

    def begin(unit: str, incarnation: int, pid: int = 7) -> Journal:
        owner = Owner("run", unit, incarnation, pid, "boot")
        made.append(Journal(owner, Folder.create(tmp_path, owner)))
        return made[-1]

    yield begin
    for journal in made:
        journal.close()


def test_each_journal_is_named_once_by_those_that_were_there_at_the_moment_of_the_listing(
    tmp_path: Path, keep: Keep
) -> None:
    seen = Journals(tmp_path)
    before_ns = monotonic_ns()
    one = keep("api", 1)
    listing = seen.look()
    assert listing.lives == (("api", 1),)
    assert listing.at_ns is not None
    assert before_ns < listing.at_ns < monotonic_ns()
    assert listing.data == {"lives": [["api", 1]], "at_ns": listing.at_ns}
    keep("db: primary", 2)
    keep("@local", 3)
    later = Folder.create(tmp_path, Owner("run", "later", 4, 7, "boot"))  # has not begun
    assert seen.look().lives == (("db: primary", 2),)
    later.close()
    one.remove()
    assert seen.look().lives == ()


def test_a_moment_is_named_only_when_every_process_is(
    tmp_path: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MOST", 2)
    for incarnation in range(1, 6):
        keep("pool", incarnation)
    seen = Journals(tmp_path)
    named = []
    for last in (False, False, True):
        listing = seen.look()
        named += listing.lives
        assert (listing.at_ns is not None) is last
    assert sorted(named) == [("pool", incarnation) for incarnation in range(1, 6)]


def test_a_journal_whose_process_is_gone_is_abandoned_and_stays_when_it_is_asked_for(
    tmp_path: Path, keep: Keep
) -> None:
    seen = Journals(tmp_path)
    living, dead = keep("api", 1, pid=os.getpid()), keep("api", 2)
    seen.look()
    assert not seen.abandoned([])
    dead.close()
    assert seen.abandoned([])
    assert not seen.abandoned([7])
    (path,) = (path for path in tmp_path.iterdir() if path.name == "api-2")
    Folder(path).close()
    assert living.segments


def test_a_folder_that_is_gone_has_no_journals(tmp_path: Path) -> None:
    seen = Journals(tmp_path / "gone")
    assert seen.look().lives == ()
    assert not seen.abandoned([])
