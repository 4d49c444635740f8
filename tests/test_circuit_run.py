"""Programs of users that have modules with the names of our packages."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.model.scenario import hidden
from tests.support.scenarios import Place, place_in

NAMES = ("probe", "broker", "runner")
TOML = """
[scenario]
name = "theirs"
[units.one]
entrypoint = "units:one"
[units.two]
entrypoint = "units:two"
after = ["one"]
[circuits.both]
path = ["one: up", "two: up"]
instances = 1
"""
UNITS = """
import broker, probe, runner

def one():
    assert (broker.whose, runner.whose) == ("theirs", "theirs")
    probe.ready("up", key="1")
    probe.wait("two: up")

def two():
    probe.emit("up", key="1")
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def packages(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("whose = 'theirs'\n")


def test_packages_of_ours_are_not_hidden_by_those_on_the_import_path_and_hide_none_but_probe(place: Place) -> None:
    place.write(TOML, UNITS)
    packages(place.folder, *NAMES)
    run = place.run("circuit.toml", expect=0, env={"PYTHONPATH": "."})
    assert run.result["circuits"][0]["instances"]["complete"] == 1
    (note,) = run.result["notes"]
    assert note.startswith(f"{place.folder}/probe: units import circuit-run's package `probe` instead")


def test_user_code_of_the_runner_finds_its_own_too(place: Place) -> None:
    check = "import runner\ndef check(result): assert runner.whose == 'theirs'\n"
    place.write(TOML.replace('"theirs"', '"theirs"\ncheck = "judge:check"', 1), UNITS)
    (place.folder / "judge.py").write_text(check)
    packages(place.folder, *NAMES)
    place.run("circuit.toml", expect=0, env={"PYTHONPATH": "."})


def test_the_module_finds_the_other_packages_as_the_command_does(place: Place) -> None:
    place.write(TOML, UNITS)
    packages(place.folder, "probe", "broker")
    words = [sys.executable, "-m", "runner", "check"]
    done = subprocess.run(words, cwd=place.folder, env=place.environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("theirs: 2 units, 1 circuit, nothing wrong")


@pytest.mark.parametrize("name", ["probe", "signal"])
def test_an_entrypoint_in_a_module_that_is_hidden_is_told_so(name: str, place: Place) -> None:
    place.write(TOML.replace('"units:one"', f'"{name}:one"'), UNITS)
    packages(place.folder, "broker", "runner")
    (place.folder / f"{name}.py").write_text("def one(): pass\n")
    run = place.run("circuit.toml", expect=1)
    assert f"which hides {place.folder}/{name}.py: rename that" in run.printed("one")


# --- what is noted ---


def test_a_module_and_a_package_are_noted_and_a_folder_without_code_is_not(tmp_path: Path) -> None:
    (tmp_path / "probe").mkdir()
    assert hidden.notes(tmp_path, []) == ()
    (tmp_path / "probe" / "__init__.py").touch()
    (tmp_path / "probe.py").touch()
    assert [note.partition(":")[0] for note in hidden.notes(tmp_path, [])] == [
        str(tmp_path / "probe"),
        str(tmp_path / "probe.py"),
    ]


def test_a_folder_of_the_import_path_is_noted_once_and_our_own_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(tmp_path / "lib", "probe")
    monkeypatch.chdir(tmp_path)
    ours = os.path.dirname(os.path.dirname(hidden.__file__)) + "/.."
    (note,) = hidden.notes(tmp_path, ["lib", "", ours, str(tmp_path / "lib")])
    assert note.startswith(f"{tmp_path}/lib/probe: programs import it instead")
    (note,) = hidden.notes(tmp_path / "lib", [str(tmp_path / "lib")])
    assert "units import" in note
