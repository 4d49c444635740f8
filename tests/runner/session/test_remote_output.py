"""Output of units on other hosts in the run folder: as it was forwarded, and nothing that cannot be meant."""

from pathlib import Path
from typing import Any

import pytest

from probe.event import Event, Kind
from runner.adapters.supervisor.output_forwarder import MOST_BYTES
from runner.session.remote_output import RemoteOutput


@pytest.fixture
def units(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "units"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def remote_output(units: Path) -> RemoteOutput:
    return RemoteOutput(units, {"api": "@lab", "worker": "@field"})


def said(step: str, key: str | None = "api", supervisor: str = "@lab", **data: Any) -> Event:
    return Event(supervisor, 1, 1, 0, step, Kind.STATE, key, data)


def output(at: Any, piece: Any, stream: Any = "out", **more: Any) -> Event:
    return said("output", **more, stream=stream, at=at, bytes=piece)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pieces_are_put_where_they_belong_whatever_comes_twice(remote_output: RemoteOutput, units: Path) -> None:
    for event in (output(0, b"one "), output(4, b"two "), output(0, b"one "), output(4, b"two "), output(8, b"three")):
        remote_output.take(event)
    remote_output.take(output(0, b"oh", "err"))
    remote_output.take(output(0, b"its", key="worker", supervisor="@field"))
    assert files(units) == {"api.out": b"one two three", "api.err": b"oh", "worker.out": b"its"}


def test_there_are_files_of_a_unit_that_was_started_and_wrote_nothing(remote_output: RemoteOutput, units: Path) -> None:
    assert files(units) == {}
    remote_output.take(said("spawned", pid=7))
    assert files(units) == {"api.out": b"", "api.err": b""}


def test_a_unit_that_is_started_again_keeps_what_it_wrote(remote_output: RemoteOutput, units: Path) -> None:
    remote_output.take(output(0, b"before"))
    remote_output.take(said("spawned", pid=8))
    assert files(units)["api.out"] == b"before"


def test_a_runner_that_reads_its_log_from_the_beginning_writes_the_same(units: Path) -> None:
    for _ in range(2):
        again = RemoteOutput(units, {"api": "@lab"})
        again.take(output(0, b"one two"))
    assert files(units) == {"api.out": b"one two"}


@pytest.mark.parametrize(
    "event",
    [
        said("spawned", key="stranger"),
        said("spawned", key=None),
        output(0, b"x", key="stranger"),
        output(0, b"x", key="../api"),
        output(0, b"x", key=None),
        output(0, b"x", key=""),
        output(0, b"x", key="worker"),
        said("spawned", key="worker"),
        output(0, b"x", "../../out"),
        output(0, b"x", "log"),
        output(0, b"x", None),
        output(0, b"x", ["out"]),
        output(-1, b"x"),
        output(MOST_BYTES + 1, b"x"),
        output(1 << 63, b"x"),
        output(True, b"x"),
        output(0.0, b"x"),
        output("0", b"x"),
        output(None, b"x"),
        output(0, "text"),
        output(0, None),
        output(0, [1, 2]),
        said("output"),
        said("exited", stream="out", at=0, bytes=b"x"),
    ],
    ids=repr,
)
def test_what_cannot_be_meant_is_ignored(remote_output: RemoteOutput, units: Path, event: Event) -> None:
    remote_output.take(event)
    assert files(units) == {}
    assert [path.name for path in units.parent.iterdir()] == ["units"]


def test_the_word_about_the_cut_stands_just_behind_the_limit(remote_output: RemoteOutput, units: Path) -> None:
    remote_output.take(output(MOST_BYTES, b"cut here"))
    assert (units / "api.out").stat().st_size == MOST_BYTES + 8
