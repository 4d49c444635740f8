"""The scenario's folder on its way: what is sent of it arrives as it was, and what cannot be sent is said before."""

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.adapters.supervisor.work_dir import WorkDir
from runner.model.errors import UsageError
from runner.session import bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "circuit.toml").write_text("[units.api]\n")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkDir]:
    """Where it arrives."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    here = WorkDir("tcp://192.0.2.1:7000", "run-1", "lab", "")
    yield here
    here.close()


def arrived(here: WorkDir, folder: Path, *ship: str) -> set[str]:
    """What there is of `folder` on the other host."""
    for piece in bundle.packed(folder, ship).pieces:
        assert here.ship(piece) == ""
    return {str(path.relative_to(here.folder)) for path in here.folder.rglob("*")}


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_what_is_sent_arrives_as_it_was(folder: Path, here: WorkDir) -> None:
    write(folder, "app.py", "parts/one.py", "parts/deep/two.txt")
    (folder / "noise").write_bytes(noise := os.urandom(3 * bundle.PIECE_BYTES))
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    (folder / "empty").mkdir()
    assert arrived(here, folder) == {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert (here.folder / "noise").read_bytes() == noise
    assert (here.folder / "parts/deep/two.txt").read_text() == "parts/deep/two.txt"
    assert os.access(here.folder / "tool", os.X_OK)
    assert (here.folder / "empty").is_dir()


def test_pieces_fit_into_a_message_and_say_how_much_there_is(folder: Path) -> None:
    (folder / "noise").write_bytes(os.urandom(3 * bundle.PIECE_BYTES))
    pieces = bundle.packed(folder).pieces
    assert [piece.offset for piece in pieces] == [i * bundle.PIECE_BYTES for i in range(len(pieces))]
    assert {piece.size for piece in pieces} == {sum(len(piece.data) for piece in pieces)}
    assert max(len(piece.data) for piece in pieces) == bundle.PIECE_BYTES < 65_536 - 100


def test_what_only_this_host_needs_is_left_out(folder: Path, here: WorkDir) -> None:
    write(folder, "app.py", "__pycache__/app.pyc", "parts/__pycache__/x.pyc", "web/node_modules/a/b.js", "web/page")
    write(folder, ".git/config", ".circuit/runs/1/events.log", "env/pyvenv.cfg", "env/bin/python")
    assert arrived(here, folder) == {"circuit.toml", "app.py", "parts", "web", "web/page"}


def test_runs_that_are_kept_in_the_folder_are_not_sent_with_their_keys(folder: Path, here: WorkDir) -> None:
    write(folder, "out/runs/1/keys/lab.keys", "out/runs/1/events.log", "out/note", "runs/mine")
    (folder / "out" / "latest").symlink_to("runs/1")
    for piece in bundle.packed(folder, without=folder / "out" / "runs").pieces:
        here.ship(piece)
    found = {str(path.relative_to(here.folder)) for path in here.folder.rglob("*")}
    assert found == {"circuit.toml", "out", "out/note", "out/latest", "runs", "runs/mine"}


def test_links_inside_the_folder_arrive_as_links(folder: Path, here: WorkDir) -> None:
    write(folder, "parts/one.txt")
    (folder / "latest").symlink_to("parts/one.txt")
    (folder / "parts" / "up").symlink_to("../circuit.toml")
    (folder / "all").symlink_to("parts", target_is_directory=True)
    (folder / "nowhere").symlink_to("not/there")
    os.link(folder / "parts" / "one.txt", folder / "same")
    arrived(here, folder)
    for name, target in (("latest", "parts/one.txt"), ("all", "parts"), ("nowhere", "not/there")):
        assert str((here.folder / name).readlink()) == target
    assert (here.folder / "parts" / "up").read_text() == "[units.api]\n"
    assert (here.folder / "same").read_text() == "parts/one.txt"


@pytest.mark.parametrize("target", ["/etc/hosts", "..", "../other", "parts/../../other"])
def test_a_link_that_leads_out_of_the_folder_is_reported_before_anything_is_sent(folder: Path, target: str) -> None:
    (folder / "data").symlink_to(target)
    with pytest.raises(UsageError) as caught:
        bundle.packed(folder)
    assert str(caught.value) == (
        f"{folder}/data is a link to {target}, which is not below {folder} and so is not sent to other hosts: put what "
        "it means in its place, or name a folder there with hosts.NAME.cwd"
    )


def test_what_is_no_file_means_nothing_elsewhere(folder: Path, here: WorkDir) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "bus"))
        assert arrived(here, folder) == {"circuit.toml"}


def test_a_folder_that_is_too_large_is_reported_with_the_remedy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1 << 20)
    write(folder, "z-small")
    (folder / "film.bin").write_bytes(os.urandom(1 << 21))
    with pytest.raises(UsageError) as caught:
        bundle.packed(folder)
    assert str(caught.value) == (
        f"{folder} has more than 1 MiB, packed, to be sent to other hosts (with film.bin): keep large files there "
        "already, and name their folder with hosts.NAME.cwd"
    )


def test_a_large_file_that_packs_well_may_be_sent(folder: Path, here: WorkDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1 << 20)
    (folder / "zeros").write_bytes(bytes(1 << 22))
    assert arrived(here, folder) == {"circuit.toml", "zeros"}


def test_what_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "secret")

    def deny(path: str, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(bundle.tarfile, "bltn_open", deny)  # root may read everything
    with pytest.raises(UsageError, match=f"{folder} cannot be packed for other hosts: Permission denied: .*circuit"):
        bundle.packed(folder)


def test_a_folder_that_cannot_be_listed_is_named_and_not_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "parts/one.txt")
    listed = os.scandir

    def deny(path: str) -> object:
        if path.endswith("parts"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(UsageError, match=r"cannot be packed for other hosts: Permission denied: .*/parts"):
        bundle.packed(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be packed for other hosts: No such file or directory: .*/none"):
        bundle.packed(tmp_path / "none")


def test_whose_files_they_are_here_is_not_told(folder: Path) -> None:
    whole = b"".join(piece.data for piece in bundle.packed(folder).pieces)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        owners = {(member.uid, member.gid, member.uname, member.gname) for member in archive}
    assert owners == {(0, 0, "", "")}


def test_it_says_what_is_in_it_and_what_stays_only_because_it_looks_like_a_key(folder: Path) -> None:
    write(folder, "app.py", "parts/one.txt", "lab.key", ".env")
    found = bundle.packed(folder)
    assert (found.names, found.withheld) == (("app.py", "circuit.toml", "parts/one.txt"), ("lab.key",))
    with_key = bundle.packed(folder, ("lab.key", ".env"))
    assert {*with_key.names} == {*found.names, "lab.key", ".env"}
