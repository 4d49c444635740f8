"""A unit that fails and is started again, from its first life to the verdict."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import Place, place_in

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
    assert run.result["notes"] == ["stubborn failed and was started again 2 times"]
    again = place.run("verify", "--json", "-", expect=0)
    assert json.loads(again.out) == run.result
