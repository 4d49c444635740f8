"""Run folders: never overwritten, found again by every name a person would use."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.adapters.history import run_folder
from runner.model.errors import RecordingError, UsageError

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_a_run_folder_is_named_by_time_scenario_and_id(tmp_path: Path) -> None:
    made = run_folder.create(tmp_path / ".circuit", "order flow/β", NOON)
    assert made.run.startswith("20261121T120000Z-order-flow-")
    assert made.units.is_dir()
    assert made.journals.stat().st_mode & 0o777 == 0o700


def test_two_runs_in_one_second_are_two_folders_and_latest_is_the_second(tmp_path: Path) -> None:
    first, second = (run_folder.create(tmp_path, "x", NOON) for _ in range(2))
    assert first.path != second.path
    assert (tmp_path / "latest").resolve() == second.path.resolve()


def test_a_run_is_found_by_latest_by_path_and_by_the_end_of_its_id(tmp_path: Path) -> None:
    made = run_folder.create(tmp_path, "x", NOON)
    made.log.touch()
    for name in ("latest", str(made.path), made.run, made.run[-4:]):
        assert run_folder.find(name, tmp_path).path.resolve() == made.path.resolve()


def test_a_run_that_is_not_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="run a scenario first"):
        run_folder.find("latest", tmp_path)
    with pytest.raises(RecordingError, match=r"no run 'nope' in .*; `latest` means the newest"):
        run_folder.find("nope", tmp_path)
    with pytest.raises(RecordingError, match=r"without events.log"):
        run_folder.find(str(tmp_path), tmp_path)


def test_a_name_that_means_two_runs_is_refused(tmp_path: Path) -> None:
    for run in ("a-1", "b-1"):
        (tmp_path / "runs" / run).mkdir(parents=True)
    with pytest.raises(RecordingError, match="means 2 runs: a-1, b-1"):
        run_folder.find("-1", tmp_path)


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="choose another with --runs"):
        run_folder.create(tmp_path / "file", "x", NOON)
    (tmp_path / "runs").touch()
    with pytest.raises(UsageError, match="choose another with --runs"):
        run_folder.create(tmp_path, "x", NOON)


@pytest.mark.parametrize("name", [".", "runs"])
def test_a_place_in_which_others_can_exchange_files_is_not_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / name).chmod(0o777)
    with pytest.raises(
        UsageError, match=r"others can exchange files \(mode 777; chmod o-w\).*choose another with --runs"
    ):
        run_folder.create(tmp_path, "x", NOON)
    (tmp_path / name).chmod(0o1777)
    assert run_folder.create(tmp_path, "x", NOON).path.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_place_of_a_stranger_is_not_used_and_one_of_the_owner_of_the_project_is(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".circuit").mkdir(parents=True)
    os.chown(project / ".circuit", 65_534, 65_534)
    with pytest.raises(UsageError, match=r"\.circuit belongs to another user \(uid 65534\)"):
        run_folder.create(project / ".circuit", "x", NOON)
    os.chown(project, 65_534, 65_534)
    assert run_folder.create(project / ".circuit", "x", NOON).path.is_dir()


def test_the_folder_keeps_itself_out_of_version_control(tmp_path: Path) -> None:
    run_folder.create(tmp_path, "x", NOON)
    assert (tmp_path / ".gitignore").read_text() == "*\n"
