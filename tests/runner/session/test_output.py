"""What units print, as whole lines, whichever process writes them and however they are cut."""

from pathlib import Path

from runner.model.scenario.model import Legacy, Scenario, Unit
from runner.session.output import Output


def output_of(folder: Path, *names: str, legacy: Legacy | None = None) -> Output:
    units = tuple(Unit(name) for name in names)
    return Output(Scenario("s", str(folder), "circuit.toml", units, legacy=legacy), folder)


def test_lines_come_when_they_are_whole_and_once(tmp_path: Path) -> None:
    output = output_of(tmp_path, "a", "b")
    assert list(output.lines()) == []
    (tmp_path / "a.out").write_bytes(b"one\ntw")
    assert list(output.lines()) == [("a", "one")]
    with (tmp_path / "a.out").open("ab") as file:
        file.write(b"o\n")
    (tmp_path / "b.err").write_bytes(b"oops\r\n")
    assert list(output.lines()) == [("a", "two"), ("b", "oops")]
    assert list(output.lines()) == []


def test_the_last_line_needs_no_newline_at_the_end(tmp_path: Path) -> None:
    output = output_of(tmp_path, "a")
    (tmp_path / "a.out").write_bytes(b"bye")
    assert list(output.lines()) == []
    assert list(output.lines(last=True)) == [("a", "bye")]
    assert list(output.lines(last=True)) == []


def test_bytes_that_are_no_text_do_not_stop_anything(tmp_path: Path) -> None:
    (tmp_path / "a.err").write_bytes(b"\xff\xfe\n")
    assert list(output_of(tmp_path, "a").lines()) == [("a", "\ufffd\ufffd")]


def test_a_flood_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_bytes(b"x" * 99 + b"\n" + b"y\n" * 400_000)
    output = output_of(tmp_path, "a")
    first = list(output.lines())
    assert 0 < len(first) < 400_000
    rest = [line for _ in range(10) for line in output.lines()]
    assert len(first) + len(rest) == 400_001


def test_at_the_end_of_a_flood_the_middle_is_left_out_and_the_end_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_bytes(b"y\n" * 1_000_000 + b"why it ended\n")
    output = output_of(tmp_path, "a")
    shown = [*output.lines(), *output.lines(last=True)]
    assert shown[-1] == ("a", "why it ended")
    (notice,) = (line for _, line in shown if line.startswith("…"))
    assert notice.endswith(f"bytes are not shown here; {tmp_path / 'a.out'} has them")
    assert list(output.lines(last=True)) == []


def test_a_legacy_folder_shows_the_levels_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text("DEBUG: noise\nWARNING: look\nplain\n")
    output = output_of(tmp_path, "a", legacy=Legacy(debug_modes=("WARNING",)))
    assert list(output.lines()) == [("a", "WARNING: look"), ("a", "plain")]


def test_the_output_of_test_functions_has_levels_of_its_own(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (tmp_path / "tests.out").write_text("DEBUG: noise\nWARNING: look\n")
    (units / "a.out").write_text("DEBUG: noise\nWARNING: look\n")
    output = output_of(units, "a", legacy=Legacy(debug_modes=("WARNING",), test_modes=("DEBUG",)))
    assert list(output.lines()) == [("a", "WARNING: look"), ("tests", "DEBUG: noise")]
