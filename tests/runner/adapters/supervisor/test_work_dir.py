"""The work folder of a supervisor on another host: what is shipped into it, completed by it, and left of it."""

import io
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import circuit_run
from probe.keys import load, made
from probe.message import Ship, Start
from runner.adapters.supervisor import unit_process
from runner.adapters.supervisor import work_dir as module
from runner.adapters.supervisor.unit_process import NotStarted
from runner.adapters.supervisor.work_dir import Occupied, WorkDir, discard, unpublished


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where work folders are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "circuit-run"


BROKER = "tcp://192.0.2.1:7000"
KEYS = made("@lab", "")


def make(run: str = "run-1", keys: str = "") -> WorkDir:
    return WorkDir(BROKER, run, "lab", keys)


@pytest.fixture
def work_dir() -> Iterator[WorkDir]:
    work_dir = make()
    yield work_dir
    if work_dir.root.exists():
        work_dir.close()


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def file(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return file(name, b"", type=kind, linkname=target)


def pieces(whole: bytes, size: int) -> list[Ship]:
    return [Ship(at, len(whole), whole[at : at + size]) for at in range(0, len(whole), size)]


def ship(work_dir: WorkDir, whole: bytes, size: int = 7) -> str:
    """In pieces; what is wrong with the last."""
    *before, last = pieces(whole, size)
    assert [work_dir.ship(piece) for piece in before] == [""] * len(before)
    return work_dir.ship(last)


APP = packed(file("app.py", b"print()\n"), file("parts/one.txt", b"1"))


def test_the_folder_is_there_when_its_last_piece_has_come(work_dir: WorkDir) -> None:
    *before, last = pieces(APP, 20)
    for piece in before:
        assert work_dir.ship(piece) == ""
        assert not work_dir.folder.exists()
    assert work_dir.ship(last) == ""
    assert (work_dir.folder / "app.py").read_text() == "print()\n"
    assert (work_dir.folder / "parts" / "one.txt").read_text() == "1"


def test_pieces_that_are_repeated_are_ignored(work_dir: WorkDir) -> None:
    for piece in pieces(APP, 20):
        for _ in range(2):
            assert work_dir.ship(piece) == ""
        assert work_dir.ship(Ship(0, len(APP), APP[:20])) == ""
    (work_dir.folder / "app.py").write_text("changed by a unit")
    assert ship(work_dir, APP) == ""
    assert (work_dir.folder / "app.py").read_text() == "changed by a unit"


def test_a_supervisor_that_comes_after_one_that_was_killed_has_the_folder_already(work_dir: WorkDir) -> None:
    ship(work_dir, APP)
    os.close(work_dir._lock)  # as its death does
    again = make()
    try:
        assert ship(again, packed(file("app.py", b"other"))) == ""
        assert (again.folder / "app.py").read_text() == "print()\n"
    finally:
        again.close()


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (b"no archive at all", "Not a gzipped file"),
        (APP[: len(APP) // 2], "end"),
        (b"", "empty file"),
        (packed(file("../outside")), "outside"),
        (packed(file("/tmp/absolute/../../../outside")), "outside"),
        (packed(link("here", "/etc/passwd")), "outside"),
        (packed(link("here", "../../outside")), "outside"),
        (packed(link("here", "../../outside", tarfile.LNKTYPE)), "outside"),
        (packed(link("up", ".."), file("up/outside")), "outside"),
        (packed(file("device", b"", type=tarfile.CHRTYPE)), "no file, folder or link"),
        (packed(file("a", b"1"), file("a/b", b"2")), "below something that is no folder"),
    ],
    ids=["rubbish", "cut", "empty", "up", "absolute", "to-file", "to-up", "hard", "through", "device", "below-file"],
)
def test_an_archive_that_is_damaged_or_hostile_is_refused_with_a_sentence(
    work_dir: WorkDir, tmp_path: Path, archive: bytes, says: str
) -> None:
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(work_dir.root)}
    said = ship(work_dir, archive) if archive else work_dir.ship(Ship(0, 0, b""))
    assert said.startswith(f"the scenario's folder could not be unpacked into {work_dir.root}: ")
    assert says in said
    assert not work_dir.folder.exists()
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(work_dir.root)} == before
    with pytest.raises(NotStarted, match="could not be unpacked"):
        work_dir.complete(Start("api", ("true",), "", {}, "o", "e"), {})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(APP) - 1), st.integers(1, 255))
def test_one_wrong_byte_is_reported_or_harmless_and_never_more(at: int, change: int) -> None:
    work_dir = make()
    try:
        damaged = bytearray(APP)
        damaged[at] ^= change
        said = ship(work_dir, bytes(damaged), 1000)
        assert bool(said) != work_dir.folder.exists()
    finally:
        work_dir.close()


def test_content_that_does_not_unpack_is_reported_too(work_dir: WorkDir) -> None:
    whole = bytearray(packed(file("noise", os.urandom(100_000))))
    whole[50_000:50_100] = bytes(100)
    assert "could not be unpacked" in ship(work_dir, bytes(whole), 40_000)


def test_links_inside_the_folder_and_modes_survive(work_dir: WorkDir) -> None:
    tool = file("bin/tool", b"#!/bin/sh\n", mode=0o755)
    assert ship(work_dir, packed(tool, link("tool", "bin/tool"))) == ""
    assert (work_dir.folder / "tool").readlink() == Path("bin/tool")
    assert os.access(work_dir.folder / "tool", os.X_OK)


# --- completing an order ---


def test_a_python_unit_gets_this_hosts_python_its_folder_and_its_place_in_the_run(work_dir: WorkDir) -> None:
    ship(work_dir, APP)
    order = Start("api", (), "", {"MODE": "fast"}, "/desk/units/api.out", "/desk/units/api.err", 2, "app:api")
    done = work_dir.complete(order, {"PATH": "/usr/bin"})
    assert done.argv == (*circuit_run.PROCESS, "runner.adapters.usercode.bootstrap", "app:api", str(work_dir.folder))
    assert (done.unit, done.life) == ("api", 2)
    assert done.cwd == f"{work_dir.folder}/"
    assert (done.out, done.err) == (f"{work_dir.root}/units/api.out", f"{work_dir.root}/units/api.err")
    assert done.env["MODE"] == "fast"
    assert done.env["PATH"] == f"{os.path.dirname(sys.executable)}:/usr/bin"
    assert "PYTHONPATH" not in done.env
    assert {name: value for name, value in done.env.items() if name.startswith("CIRCUIT_")} == {
        "CIRCUIT_BROKER": "tcp://192.0.2.1:7000",
        "CIRCUIT_RUN": "run-1",
        "CIRCUIT_UNIT": "api",
        "CIRCUIT_JOURNAL": f"{work_dir.root}/journals",
    }


def test_a_command_is_what_it_was_and_finds_the_folder_on_the_import_path(work_dir: WorkDir) -> None:
    ship(work_dir, APP)
    done = work_dir.complete(Start("api", ("python3", "x.py"), "", {}, "o", "e"), {"PYTHONPATH": "/base"})
    assert done.argv == ("python3", "x.py")
    assert done.env["PYTHONPATH"] == f"{work_dir.folder}:/base"


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/..", "a\0b", "x" * 300, "é" * 200])
def test_a_file_for_output_whose_name_is_none_is_refused(work_dir: WorkDir, name: str) -> None:
    ship(work_dir, APP)
    for out, err in ((name, "e"), ("o", name)):
        with pytest.raises(NotStarted, match="cannot be the name of a file for its output"):
            work_dir.complete(Start("api", ("true",), "", {}, out, err), {})


@pytest.mark.parametrize(
    "order",
    [
        Start("api", ("true",), "a\0b", {}, "o", "e"),
        Start("api", ("tr\0ue",), "", {}, "o", "e"),
        Start("api", ("true", "a\0b"), "", {}, "o", "e"),
        Start("api", ("true",), "", {"A": "x\0y"}, "o", "e"),
        Start("api", ("true",), "", {"A\0": "x"}, "o", "e"),
        Start("api", ("true",), "", {"A=B": "x"}, "o", "e"),
        Start("api", ("true",), "", {}, "o", "e", entrypoint="a\0b:c"),
        Start("api", ("true",), "x" * 5000, {}, "o", "e"),
        Start("api", ("\ud800",), "", {}, "o", "e"),
    ],
)
def test_an_order_that_no_system_can_follow_is_refused_and_the_supervisor_goes_on(
    work_dir: WorkDir, order: Start
) -> None:
    ship(work_dir, APP)
    with pytest.raises(NotStarted):
        unit_process.start(work_dir.complete(order, os.environ))


@pytest.mark.parametrize(
    ("ordered", "meant"),
    [("", "{folder}/"), ("parts", "{folder}/parts"), ("/srv/shop", "/srv/shop"), ("~/shop", "/home/me/shop")],
)
def test_a_working_directory_is_below_the_folder_unless_it_is_absolute_there(
    work_dir: WorkDir, monkeypatch: pytest.MonkeyPatch, ordered: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    ship(work_dir, APP)
    assert work_dir.complete(Start("api", ("x",), ordered, {}, "o", "e"), {}).cwd == meant.format(
        folder=work_dir.folder
    )


def test_output_goes_into_the_work_folder_whatever_path_it_has_at_the_runner(work_dir: WorkDir) -> None:
    ship(work_dir, APP)
    done = work_dir.complete(Start("api", ("x",), "", {}, "../../etc/passwd", "/a/b/../x.err"), {})
    assert (done.out, done.err) == (f"{work_dir.root}/units/passwd", f"{work_dir.root}/units/x.err")


def test_nothing_is_started_before_the_folder_has_come(work_dir: WorkDir) -> None:
    with pytest.raises(NotStarted, match="the scenario's folder has not come to this host"):
        work_dir.complete(Start("api", ("x",), "", {}, "o", "e"), {})


# --- the folder ---


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_work_folder_is_for_its_user_alone_and_so_are_the_keys(state: Path) -> None:
    before = os.umask(0)
    try:
        work_dir = make(keys=KEYS.text())
    finally:
        os.umask(before)
    assert work_dir.root == state / "run-1@lab"
    assert (mode(work_dir.root), mode(work_dir.root / "keys"), mode(work_dir.context.journals)) == (0o700, 0o600, 0o700)
    assert (work_dir.root / "keys").read_text() == KEYS.text()
    assert work_dir.variables()["CIRCUIT_KEYS"] == str(work_dir.root / "keys")
    units = load(work_dir.root / "units.keys")
    assert (units.name, units.broker, units.public) == ("@lab/units", KEYS.broker, work_dir.units_key)
    assert work_dir.context.environment("api")["CIRCUIT_KEYS"] == str(work_dir.root / "units.keys")
    work_dir.close()


def test_a_broker_that_wants_no_keys_gets_none(work_dir: WorkDir) -> None:
    assert not (work_dir.root / "keys").exists()
    assert "CIRCUIT_KEYS" not in work_dir.variables()


@pytest.mark.parametrize("home", ["", "relative/path"])
def test_work_folders_are_in_the_home_of_the_user_unless_a_state_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", home)
    monkeypatch.setenv("HOME", "/home/me")
    assert module.home() == Path("/home/me/.local/state/circuit-run")


@pytest.mark.parametrize("prepare", ["a link", "open to others"])
def test_a_work_folder_that_another_user_can_change_is_not_used(state: Path, prepare: str) -> None:
    root = state / "run-1@lab"
    root.mkdir(parents=True, mode=0o755)
    if prepare == "a link":
        root.rename(state / "theirs")
        root.symlink_to("theirs")
    with pytest.raises(PermissionError, match=r"run-1@lab (is a link|can be entered by others).*set XDG_STATE_HOME"):
        make()
    (root / "broker").write_text(BROKER)
    assert list(unpublished(BROKER)) == []


def test_work_folders_are_not_made_where_others_can_exchange_them(state: Path) -> None:
    state.mkdir(parents=True)
    state.chmod(0o777)
    with pytest.raises(PermissionError, match=r"others can exchange files \(mode 777\)"):
        make()


def test_one_supervisor_of_a_run_lives_on_a_host(work_dir: WorkDir) -> None:
    with pytest.raises(Occupied, match="a supervisor of run run-1 lives on lab already"):
        make()
    assert work_dir.root.exists()
    make("run-2").close()


def test_nothing_is_left_when_nothing_is_owed(work_dir: WorkDir, state: Path) -> None:
    other = make("run-2")
    ship(work_dir, APP)
    assert work_dir.close() is False
    assert [path.name for path in state.iterdir()] == ["run-2@lab"]
    assert other.close() is False
    assert not state.exists()


def test_evidence_that_is_not_published_stays_with_the_keys_to_publish_it(state: Path) -> None:
    work_dir = make(keys=KEYS.text())
    ship(work_dir, APP)
    (work_dir.context.journals / "api").mkdir()
    assert list(unpublished(BROKER)) == [], "it is in use"
    assert work_dir.close() is True
    assert sorted(path.name for path in work_dir.root.iterdir()) == [
        "broker",
        "journals",
        "keys",
        "units",
        "units.keys",
    ]
    assert list(unpublished(BROKER)) == [work_dir.root]
    assert list(unpublished("tcp://192.0.2.2:7000")) == [], "that broker has nothing to do with it"
    discard(work_dir.root)
    assert list(unpublished(BROKER)) == []
    assert not state.exists()


def test_the_work_folder_of_a_supervisor_that_was_killed_is_found(work_dir: WorkDir, state: Path) -> None:
    os.close(work_dir._lock)
    (state / "not a work folder").mkdir()
    (state / "file@lab").write_text("")
    assert list(unpublished(BROKER)) == [work_dir.root]
    discard(work_dir.root)
    assert sorted(path.name for path in state.iterdir()) == ["file@lab", "not a work folder"]


def test_no_supervisor_begins_in_a_folder_whose_evidence_is_just_published() -> None:
    work_dir = make()
    (work_dir.context.journals / "api").mkdir()
    work_dir.close()
    for folder in unpublished(BROKER):
        with pytest.raises(Occupied, match="run-1"):
            make()
        discard(folder)
    assert make().close() is False, "then it is a new one"
