"""docs/lab.md, followed by a new user: its commands run as they stand, on machines that had nothing to do with it."""

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.support.lab_hosts import Lab
from tests.support.lab_runs import LabPlace, ended, started
from tests.support.scenarios import COMMAND, PATIENCE_S, poll

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ circuit-run (.+)$", PAGE, re.MULTILINE)

pytestmark = pytest.mark.lab


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> LabPlace:
    """The desk, with the example; the Python of its hosts is named as the page says."""
    example = tmp_path / "examples" / "lab"
    shutil.copytree(ROOT / "examples" / "lab", example)
    scenario = example / "circuit.toml"
    text = scenario.read_text().replace('python = "python3"', f'python = "{sys.executable}"')
    scenario.write_text(text.replace('ssh = "lab-2"', f'ssh = "lab-2"\npython = "{sys.executable}"'))
    return LabPlace(lab, tmp_path)


def test_the_commands_of_the_page_run_as_they_stand(place: LabPlace) -> None:
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        done = place.run(*command.split())
        assert done.code == 0, f"{command}\n{done.text}"


def test_a_host_of_the_example_may_have_an_agent_instead(place: LabPlace, lab: Lab) -> None:
    for words in (command.split() for command in COMMANDS if command.startswith("keys new")):
        place.run(*words, expect=0)
    shutil.copy2(place.folder / "ring" / "lab-1.keys", lab.host("lab-1").path("/root/lab-1.keys"))
    agent: list[str | Path] = [COMMAND, "agent", "--join", "tcp://desk:5000", "--keys", "lab-1.keys"]
    (command,) = re.findall(r"^    circuit-run (examples/lab --host lab-1=agent .+)$", PAGE, re.MULTILINE)
    with started(lab.host("lab-1"), agent, place, cwd=Path("/root")):
        run = place.run(*command.split(), expect=0)
    assert run.result["circuits"][0]["instances"]["complete"] == 20


def test_the_example_passes_though_its_link_is_lost_for_a_while(place: LabPlace, lab: Lab) -> None:
    with place.start("examples/lab", "--plain", "-e", "PAUSE=0.1") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        time.sleep(1.5)  # how long the loss lasts is what is tested
        lab.host("lab-1").link_up()
        done = ended(run, 0)
    assert done.result["circuits"][0]["instances"]["complete"] == 20
    assert done.result["evidence"]["lost"] == []
    assert done.result["barriers"][0]["rounds"] == 20
    for name in ("lab-1", "lab-2"):
        assert poll(lambda name=name: lab.host(name).left() == [], 10)  # type: ignore[misc]


def test_a_loss_that_is_too_long_for_a_barrier_is_reported_by_name_and_nothing_is_lost(
    place: LabPlace, lab: Lab
) -> None:
    with place.start("examples/lab", "--plain", "-e", "PAUSE=0.05") as run:
        run.until("first instance complete")
        lab.host("lab-1").link_down()
        run.until("camera    failed: was lost with host lab-1")
        lab.host("lab-1").link_up()
        run.process.wait(PATIENCE_S)
        done = run.end()
    why = "barrier 'shutter' is broken: camera was lost with host lab-1"
    informed = [name for name in ("camera", "flash") if why in done.printed(name)]
    assert done.code == (1 if informed else 0), done.out  # whether a unit waited there at that moment is chance
    assert done.result["evidence"]["lost"] == []
    assert done.result["circuits"][0]["instances"]["inconclusive"] == 0
    assert any("host lab-1 was away" in note for note in done.result["notes"])
    for name in ("lab-1", "lab-2"):
        assert poll(lambda name=name: lab.host(name).left() == [], 10)  # type: ignore[misc]
