"""Evidence of an earlier run is published while a supervisor of the same run may come."""

from pathlib import Path

import pytest

from runner.launch.here import Here, Occupied, discard, held


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def left() -> Path:
    """A work folder with a journal that nobody has got."""
    here = Here("tcp://192.0.2.1:7000", "run-1", "lab", "")
    (here.place.journals / "camera-1").mkdir()
    assert here.close()
    return here.root


def test_no_supervisor_uses_a_folder_whose_evidence_is_just_published() -> None:
    folder = left()
    with held(folder) as ours:
        assert ours
        with pytest.raises(Occupied):
            Here("tcp://192.0.2.1:7000", "run-1", "lab", "")
        discard(folder)
    assert not Here("tcp://192.0.2.1:7000", "run-1", "lab", "").close(), "then it is a new one"


def test_nobody_publishes_from_a_folder_that_a_supervisor_uses() -> None:
    folder = left()
    here = Here("tcp://192.0.2.1:7000", "run-1", "lab", "")
    with held(folder) as ours:
        assert not ours
    here.close()
    discard(folder)
    with held(folder) as ours:
        assert not ours, "it is not there any more"
