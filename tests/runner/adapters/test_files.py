"""What a run keeps is for its user alone, from the first file to the last, whatever the umask is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.adapters import files
from tests.support.scenarios import Place, place_in

SCENARIO = """\
[scenario]
name = "modes"
setup = "units:setup"
check = "units:check"
timeout = "30s"
[units.api]
entrypoint = "units:api"
[units.shell]
command = ["sh", "-c", "echo said; echo complained >&2; circuit-run emit told"]
after = ["api"]
[circuits.call]
path = ["api: looked", "shell: told"]
"""
CODE = """\
import os, stat
import probe

def setup():
    print("set up")

def check(result):
    print("checked")

def api():
    folder = os.path.dirname(os.environ["CIRCUIT_JOURNAL"])
    for root, folders, names in os.walk(folder):
        for path in [root, *(os.path.join(root, name) for name in names)]:
            if stat.S_IMODE(os.lstat(path).st_mode) & 0o077:
                print("OPEN", path)
    print("HAS", *sorted(os.listdir(folder)))
    probe.emit("looked")
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def open_to_others(folder: Path) -> dict[str, str]:
    """What in `folder`, and it itself, others could read, write or enter: name -> mode."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077 and not path.is_symlink():
            found[str(path.relative_to(folder))] = f"{mode:o}"
    return found


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_no_other_user_can_read_anything_of_a_run_while_it_lives_and_afterwards(place: Place, umask: int) -> None:
    place.write(SCENARIO, CODE)
    run = place.run("--plain", "--listen", "tcp://127.0.0.1:0", expect=0, umask=umask)
    printed = run.printed("api")
    assert "OPEN" not in printed
    assert all(word in printed.split() for word in ("HAS", "journals", "keys", "units", "scenario.json"))
    assert open_to_others(place.folder / ".circuit") == {}
    kept = {str(path.relative_to(run.folder.path)) for path in run.folder.path.rglob("*") if path.is_file()}
    assert {"events.log", "result.json", "scenario.json", "units/shell.err", "setup.out", "check.out"} <= kept


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o777])
def test_a_file_is_for_its_user_alone_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_file_that_let_others_in_does_so_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before\n")
    path.chmod(0o664)
    with open(path, "a", opener=files.opener) as file:
        file.write("after\n")
    assert path.read_text() == "before\nafter\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]
