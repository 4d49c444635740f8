"""What units on other hosts write is forwarded in order, once, and not without end."""

from pathlib import Path
from typing import Any

import pytest

from runner.adapters.supervisor import output_forwarder
from runner.adapters.supervisor.output_forwarder import OutputForwarder


class Reporter:
    """Puts the pieces together, as `session.remote_output` does."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, int, bytes]] = []

    def state(self, step: str, /, key: object = None, **data: Any) -> None:
        assert step == "output"
        self.said.append((str(key), data["stream"], data["at"], data["bytes"]))

    def text(self, unit: str = "api", stream: str = "out") -> bytes:
        whole = b""
        for name, of, at, piece in self.said:
            if (name, of) == (unit, stream):
                assert at == len(whole), "in order, without holes, nothing twice"
                whole += piece
        return whole


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 4 bytes, 10 of a file at most, 2 pieces at once."""
    for name, value in (("PIECE_BYTES", 4), ("MOST_BYTES", 10), ("AT_ONCE", 2), ("_CUT", b"[cut]")):
        monkeypatch.setattr(output_forwarder, name, value)


def following(folder: Path, *units: str) -> tuple[Reporter, OutputForwarder]:
    reporter = Reporter()
    found = OutputForwarder(reporter)
    for unit in units or ("api",):
        found.follow(unit, str(folder / f"{unit}.out"), str(folder / f"{unit}.err"))
    return reporter, found


def test_what_was_written_since_the_last_time_is_forwarded(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    with (tmp_path / "api.out").open("wb", buffering=0) as file:
        for line in (b"one\n", b"two\n", b"", b"three\n"):
            file.write(line)
            forwarder.forward()
    forwarder.forward()
    assert reporter.said == [("api", "out", 0, b"one\n"), ("api", "out", 4, b"two\n"), ("api", "out", 8, b"three\n")]


def test_both_streams_of_every_unit_are_apart(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path, "api", "worker")
    for name in ("api.out", "api.err", "worker.err"):
        (tmp_path / name).write_text(name)
    forwarder.forward()
    assert [(unit, stream, piece) for unit, stream, _, piece in reporter.said] == [
        ("api", "out", b"api.out"),
        ("api", "err", b"api.err"),
        ("worker", "err", b"worker.err"),
    ]


def test_a_file_that_does_not_exist_yet_is_forwarded_when_it_does(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    forwarder.forward()
    assert reporter.said == []
    (tmp_path / "api.out").write_bytes(b"late")
    forwarder.forward()
    assert reporter.text() == b"late"


def test_a_unit_that_is_started_again_goes_on_where_it_was(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    (tmp_path / "api.out").write_bytes(b"first ")
    forwarder.forward()
    forwarder.follow("api", str(tmp_path / "api.out"), str(tmp_path / "api.err"))
    with (tmp_path / "api.out").open("ab") as file:
        file.write(b"second")
    forwarder.forward()
    assert reporter.text() == b"first second"


@pytest.mark.usefixtures("small")
def test_much_is_forwarded_a_few_pieces_at_a_time_and_all_of_it_when_the_unit_has_ended(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path, "api", "worker")
    for unit in ("api", "worker"):
        (tmp_path / f"{unit}.out").write_bytes(b"0123456789")
    forwarder.forward()
    assert reporter.text("api") == reporter.text("worker") == b"01234567"
    forwarder.forward("api")
    assert (reporter.text("api"), reporter.text("worker")) == (b"0123456789", b"01234567")
    assert max(len(piece) for *_, piece in reporter.said) == 4


@pytest.mark.usefixtures("small")
def test_a_file_that_is_too_large_is_cut_with_a_word_about_it_once(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    (tmp_path / "api.out").write_bytes(b"0123456789a")
    for _ in range(5):
        forwarder.forward()
    forwarder.forward("api")
    assert reporter.text() == b"0123456789[cut]"


@pytest.mark.usefixtures("small")
def test_a_file_that_is_just_as_large_as_may_be_is_not_said_to_be_cut(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    (tmp_path / "api.out").write_bytes(b"0123456789")
    forwarder.forward("api")
    assert reporter.text() == b"0123456789"
    with (tmp_path / "api.out").open("ab") as file:
        file.write(b"more")
    forwarder.follow("api", str(tmp_path / "api.out"), str(tmp_path / "api.err"))  # started again
    forwarder.forward("api")
    assert reporter.text() == b"0123456789[cut]"


def test_nothing_is_forwarded_of_a_unit_that_has_ended_until_it_is_started_again(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    (tmp_path / "api.out").write_bytes(b"its")
    forwarder.forward("api")
    (tmp_path / "api.out").write_bytes(b"its, and of a process that it left behind")
    forwarder.forward()
    assert reporter.text() == b"its"


def test_a_file_that_its_unit_has_emptied_is_forwarded_no_further(tmp_path: Path) -> None:
    reporter, forwarder = following(tmp_path)
    (tmp_path / "api.out").write_bytes(b"0123456789")
    forwarder.forward()
    (tmp_path / "api.out").write_bytes(b"abc")
    forwarder.forward()
    assert reporter.text() == b"0123456789"


def test_a_piece_fits_into_the_data_of_an_event_and_the_word_about_the_cut_names_the_limit() -> None:
    assert output_forwarder.PIECE_BYTES < 65_536 - 1024
    assert b"16 MiB" in output_forwarder._CUT
