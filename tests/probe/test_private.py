"""Private folders: where one may be, how it is made, and what is none."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from probe import private
from probe.errors import FolderError

ANOTHER_USER = 65_534
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_private_folder_is_for_its_owner_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "folder"
    before = os.umask(umask)
    try:
        private.make(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert private.why_not(path) == ""
    with pytest.raises(FileExistsError):
        private.make(path)


def test_folders_on_the_way_are_made_private_and_those_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        private.ensure(tmp_path / "there" / "a" / "b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("there", "there/a", "there/a/b")]
    assert modes == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "a"):
        with pytest.raises(FileExistsError):
            private.ensure(path)


def test_what_is_there_already_is_looked_at_and_not_what_it_leads_to(tmp_path: Path) -> None:
    private.make(tmp_path / "ours")
    (tmp_path / "link").symlink_to("ours")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for name, why in {"link": "is a link", "dangling": "is a link", "file": "is no folder", "ours": ""}.items():
        assert private.why_not(tmp_path / name).endswith(why)
    (tmp_path / "ours").chmod(0o710)
    assert "can be entered by others (mode 710)" in private.why_not(tmp_path / "ours")
    with pytest.raises(FileNotFoundError):
        private.why_not(tmp_path / "nothing")


@root
def test_a_folder_of_another_user_is_not_private_though_its_mode_is(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    private.make(path)
    os.chown(path, ANOTHER_USER, ANOTHER_USER)
    assert private.why_not(path) == f"{path} belongs to another user (uid {ANOTHER_USER})"


@pytest.mark.parametrize(
    ("mode", "group", "safe"),
    [(0o755, 0, True), (0o1777, 0, True), (0o777, 0, False), (0o775, 12, False), (0o1775, 12, True)],
)
@root
def test_no_other_user_may_exchange_a_private_folder(tmp_path: Path, mode: int, group: int, safe: bool) -> None:
    above, path = tmp_path / "above", tmp_path / "above" / "base"
    path.mkdir(parents=True)
    for shared in (above, path):
        os.chown(shared, 0, group)
        shared.chmod(mode)
        assert (private.why_not_safe(path) == "") is safe
        shared.chmod(0o755)


@root
def test_the_base_is_the_runtime_directory_unless_another_user_has_a_hand_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, temporary = tmp_path / "runtime", tmp_path / "temporary"
    runtime.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert private.base() == runtime
    os.chown(runtime, ANOTHER_USER, ANOTHER_USER)
    assert private.base() == temporary
    temporary.chmod(0o777)
    assert private.base() == Path("/tmp")
    temporary.chmod(0o1777)
    assert private.base() == temporary


def test_the_base_is_named_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "link"))
    assert private.base() == tmp_path.resolve() / "real"


def test_where_there_is_no_place_it_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "why_not_safe", lambda path: f"in {path} others can exchange files")
    with pytest.raises(FolderError, match=r"in /tmp others can exchange files.*set XDG_RUNTIME_DIR"):
        private.base()
