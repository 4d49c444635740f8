"""A unit that fails and is started again, from its first life to the verdict."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import Place, place_in

CODE = """
import pathlib

import probe


def stubborn():
    tries = pathlib.Path("tries")
    number = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (number + 1))
    probe.emit("tried", number=number)
    if number < 2:
        raise RuntimeError("not yet")
"""
SCENARIO = """
[scenario]
name = "again"
timeout = "20s"

[units.stubborn]
entrypoint = "units:stubborn"
restart = "on-failure"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


def test_what_a_unit_failed_of_before_it_was_started_again_is_a_note_and_no_finding(place: Place) -> None:
    place.write(SCENARIO, CODE)
    run = place.run(".", expect=0)
    assert run.result["findings"] == []
    (note,) = run.result["notes"]
    end = r"exited with code 1 after [\d.]+ m?s"
    assert re.fullmatch(f"stubborn {end}, then {end}, and was started again 2 times", note)
    again = place.run("verify", "--json", "-", expect=0)
    assert json.loads(again.out) == run.result


KILLED = """
import os
import signal

import probe


def worker():
    probe.ready("up")
    if probe.wait("client: told") is not None and not os.path.exists("second"):
        open("second", "w").close()
        probe.emit("began", key="job-1")
        os.kill(os.getpid(), signal.SIGKILL)
    probe.emit("began", key="job-2")
    probe.emit("ended", key="job-2")


def client():
    probe.emit("sent", key="job-1")
    probe.emit("sent", key="job-2")
    probe.emit("told")
    probe.wait("worker: ended")
"""
OF_TWO_LIVES = """
[units.worker]
entrypoint = "units:worker"
ready = "up"
restart = "on-failure"
service = false
[units.client]
entrypoint = "units:client"
after = ["worker"]
[circuits.job]
path = ["client: sent", "worker: began", "worker: ended"]
"""


def test_what_a_killed_life_left_undone_is_reported_with_its_signal_and_not_with_the_end_of_the_next_life(
    place: Place,
) -> None:
    place.write(OF_TWO_LIVES, KILLED)
    run = place.run(".", expect=1)
    (missing,) = run.result["findings"]
    assert (missing["class"], missing["key"], missing["step"]) == ("missing", "job-1", "ended")
    end = r"worker was killed by SIGKILL after [\d.]+ m?s, and was started again"
    assert re.fullmatch(end, missing["details"][-1]), missing
    assert re.fullmatch(end, run.result["notes"][0])
    assert not any("exited with code 0" in line for line in missing["details"])
