"""A short chaos campaign: real runs of 100,000 events whose processes are killed at random. `make chaos` is longer."""

from pathlib import Path

import pytest

from tests.chaos import __main__ as command
from tests.chaos import judge, report
from tests.chaos.judge import Fault, Wrong
from tests.chaos.plan import Victim, plan_of
from tests.chaos.play import play

SEEDS = (17, 34, 84, 108, 162, 163)
"""Among them all kinds of victims, some struck at their start, faults that are planted, and disks that are full."""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_killed_nothing_is_lost_and_the_verdict_is_right(seed: int, tmp_path: Path) -> None:
    played = play(plan_of(seed), tmp_path / "run")
    assert [f"{fault.wrong}: {fault.what}" for fault in played.faults] == []
    assert played.struck.total() > 0


def test_these_runs_have_everything_that_can_happen() -> None:
    plans = [plan_of(seed) for seed in SEEDS]
    assert {strike.victim for plan in plans for strike in plan.strikes} == set(Victim)
    assert {plan.plant is None or plan.plant.copies == 0 for plan in plans} == {True, False}
    assert any(strike.age_ms for plan in plans for strike in plan.strikes)
    assert any(plan.forks_every for plan in plans)
    assert any(plan.beside for plan in plans)
    assert any(plan.disk_kib for plan in plans)


def test_a_bad_run_is_kept_and_named_and_a_good_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--events", "400", "--seed", "3", "--runs", "1", "--folder", str(tmp_path)]
    assert command.main(words) == 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(judge, "faults", lambda _: [Fault(Wrong.LOST, "something", 2)])
    assert command.main(words) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    printed = capsys.readouterr().out
    assert "lost: something" in printed
    assert "again: python -m tests.chaos --replay 3 --events 400\n" in printed


def test_the_table_of_the_page_is_that_of_the_last_campaign() -> None:
    text = report.PAGE.read_text(encoding="utf-8")
    assert text == report.page(text, report.kept()), "run: python -m docs.generate"
