"""Small things that many messages share: suggestions, log levels, the recorded scenario."""

import pytest

from runner.model.errors import RecordingError
from runner.model.scenario import did_you_mean, restore, save
from runner.model.scenario.loglevel import level, shows
from runner.model.scenario.model import All, Circuit, Legacy, LegacyTest, Optional, Probe, Quorum, Scenario, Unit


def test_a_name_one_typo_away_is_suggested() -> None:
    assert did_you_mean("aftr", ["after", "entrypoint"]) == '; did you mean "after"?'
    assert did_you_mean("After", ["after"]) == '; did you mean "after"?'


def test_a_name_far_from_all_gets_the_list_of_them() -> None:
    assert did_you_mean("zebra", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("zebra", []) == ""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("2026-11-21 DEBUG shop: row 5", "DEBUG"),
        ("INFO:root:ready", "INFO"),
        ("[WARN] slow", "WARNING"),
        ("units.py:3: DeprecationWarning: old", None),
        ("DeprecationWarning: old", "WARNING"),
        ("ERROR shop: lost; DEBUG follows", "EXCEPT"),
        ("Traceback (most recent call last):", "EXCEPT"),
        ("ValueError: no", "EXCEPT"),
        ("INFORMATION desk", None),
        ("plain words, no error", None),
    ],
)
def test_a_line_has_the_gravest_level_that_it_names(line: str, found: str | None) -> None:
    assert level(line) == found


def test_a_log_filter_hides_the_levels_it_does_not_name_and_nothing_else() -> None:
    assert not shows(("INFO",), "DEBUG detail")
    assert shows(("INFO",), "INFO ready")
    assert shows((), "a print")


SCENARIO = Scenario(
    "all of it",
    "/somewhere",
    "circuit.toml",
    (Unit("a", entrypoint="m:f", env={"X": "1"}), Unit("b", command=("sh", "-c", "true"))),
    (
        Circuit(
            "c",
            (
                Probe("a", "x", where={"ok": True, "n": [1, {"deep": "ü"}]}, rekey="id"),
                All((Probe("b", "y"), Quorum(1, (Probe("b", "z"), Probe("a", "z"))))),
                Optional(Probe("*", "w", each=True, at_least=0, at_most=None), within_ns=5),
            ),
        ),
    ),
    legacy=Legacy(tests=(LegacyTest("m:test_x", 3, True),)),
)


def test_a_recorded_scenario_comes_back_as_it_was() -> None:
    assert restore(save(SCENARIO)) == SCENARIO


def test_a_damaged_recording_is_named() -> None:
    with pytest.raises(RecordingError, match="the recorded scenario is damaged: "):
        restore(save(SCENARIO)[:-20])
    with pytest.raises(RecordingError, match=r"damaged: .*`units`"):
        restore(b'{"name": "x", "folder": "/", "file": "f"}')
