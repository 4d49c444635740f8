"""The judge of the chaos campaign can say no: whatever it is to find, it finds. And a plan is what its seed says."""

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.log import Entry
from probe import message as m
from probe.event import Kind
from probe.wire import record_packer
from tests.chaos import judge, report
from tests.chaos.judge import Ended, Judged, Spoken, Wrong
from tests.chaos.plan import MAX_KILLS_OF_A_UNIT, UNITS, Plan, Plant, Strike, Victim, plan_of
from tests.chaos.units import Life, Tally
from tests.support.scenarios import Place

PLAN = Plan(seed=1, events=4, pause_every=0, strikes=(Strike(Victim.UNIT, "second", 2),))
LIVES = {
    "first": [Life(11, 0, 4, 4)],
    "second": [Life(12, 0, 3, 2), Life(22, 2, 4, 4)],
    "third": [Life(13, 0, 4, 4)],
    "fourth": [Life(14, 0, 4, 4)],
}
CHILDREN = {"first": [Life(31, 0, 3, 3)]}
PASSED = {"verdict": "passed", "findings": []}


def said(
    second: Iterable[int] = (0, 1), again: Iterable[int] = (2, 3), child: Iterable[int] = (0, 1, 2)
) -> list[Spoken]:
    """What the log has: everything, of the two lives of `second` and of the child these."""
    whole = [Spoken(unit, 1, LIVES[unit][0].pid, [0, 1, 2, 3]) for unit in UNITS if unit != "second"]
    whole += [Spoken("first", 5, 31, list(child))]
    return [*whole, Spoken("second", 1, 12, list(second)), Spoken("second", 2, 22, list(again))]


def finding(cls: str, unit: str | None, key: str | None, *, inconclusive: bool = False) -> dict[str, Any]:
    return {"class": cls, "unit": unit, "key": key, "inconclusive": inconclusive}


def failed(*findings: dict[str, Any]) -> Judged:
    return Judged(1, {"verdict": "failed", "findings": list(findings)})


def ended(**changes: Any) -> Ended:
    """A run in which all is well, but for `changes`."""
    run = Ended(PLAN, LIVES, CHILDREN, said(), Judged(0, PASSED), again=None, runner_killed=False)
    return replace(run, **changes)


def wrongs(run: Ended) -> dict[Wrong, int]:
    """What is found, and how much of it."""
    found: dict[Wrong, int] = {}
    for fault in judge.faults(run):
        found[fault.wrong] = found.get(fault.wrong, 0) + fault.count
    return found


def test_a_run_in_which_all_is_well_has_no_fault() -> None:
    assert wrongs(ended()) == {}
    assert judge.emitted(PLAN, LIVES, CHILDREN) == 16 + 3


def test_what_a_child_emitted_is_asked_for_too() -> None:
    assert wrongs(ended(spoken=said(child=(0, 2)))) == {Wrong.LOST: 1}
    assert wrongs(ended(spoken=said(child=(0, 1, 2, 3)))) == {Wrong.DUPLICATED: 1}
    assert wrongs(ended(spoken=[one for one in said() if one.pid != 31])) == {Wrong.LOST: 3}


def test_on_a_small_disk_events_may_be_lost_and_may_not_be_taken_for_there() -> None:
    small = replace(PLAN, disk_kib=300)
    lost = said(child=())
    assert wrongs(ended(plan=small, spoken=lost, live=Judged(3, None), left=["journal first-1"])) == {}
    assert wrongs(ended(plan=small, spoken=lost, live=Judged(6, {"verdict": "inconclusive", "findings": []}))) == {}
    assert wrongs(ended(plan=small, spoken=lost)) == {Wrong.FALSE_PASSED: 1}
    assert wrongs(ended(plan=small, spoken=lost, live=failed(finding("missing", "second", "1")))) == {
        Wrong.FALSE_FAILED: 1
    }
    assert wrongs(ended(plan=small, left=["sleep 100 (pid 5)"])) == {Wrong.LEFTOVER: 1}


@pytest.mark.parametrize(
    ("second", "again", "expected"),
    [
        ((0, 1, 2), (2, 3), {}),  # the emit that the kill interrupted had done its work
        ((0,), (2, 3), {Wrong.LOST: 1}),
        ((), (2, 3), {Wrong.LOST: 2}),
        ((0, 1), (2,), {Wrong.LOST: 1}),
        ((0, 1, 1), (2, 3), {Wrong.DUPLICATED: 1}),
        ((0, 1, 2, 2), (2, 3), {Wrong.DUPLICATED: 1}),
        ((0, 1, 2, 3), (2, 3), {Wrong.DUPLICATED: 1}),
        ((0, 1), (2, 3, 3), {Wrong.DUPLICATED: 1}),
        ((1, 0), (2, 3), {Wrong.MISORDERED: 1}),
        ((0, 2, 1), (2, 3), {Wrong.MISORDERED: 1}),
        ((0, 2), (2, 3), {Wrong.LOST: 1}),
        ((1, 1), (2, 3), {Wrong.LOST: 1, Wrong.DUPLICATED: 1}),
    ],
)
def test_an_emit_that_returned_is_there_once_and_in_its_place(
    second: tuple[int, ...], again: tuple[int, ...], expected: dict[Wrong, int]
) -> None:
    assert wrongs(ended(spoken=said(second, again))) == expected


def test_a_life_that_the_log_does_not_know_is_lost() -> None:
    assert wrongs(ended(spoken=[each for each in said() if each.pid != 22])) == {Wrong.LOST: 2}


def test_a_life_that_the_tally_does_not_know_cannot_have_emitted_anything() -> None:
    silent, loud = Spoken("third", 9, 99), Spoken("third", 9, 99, [0])
    assert wrongs(ended(spoken=[*said(), silent])) == {}
    assert wrongs(ended(spoken=[*said(), loud])) == {Wrong.DUPLICATED: 1}


def entries(*batches: tuple[int, ...]) -> list[Entry]:
    """The log of one unit: records with these numbers, batch for batch."""
    pack = record_packer(strict=True)
    bodies = [
        b"".join(pack([seq, seq, "passed", int(Kind.DEFAULT), str(seq - 1), {}]) for seq in seqs) for seqs in batches
    ]
    events = [m.Events(seqs[0], len(seqs), 1) for seqs in batches]
    hello = Entry("first", 1, m.Hello(1, "unit", "run", "first", 1, pid=11), b"", 0)
    return [hello, *(Entry("first", 1, each, body, 0) for each, body in zip(events, bodies, strict=True))]


def test_the_log_itself_is_looked_at() -> None:
    (whole,) = judge.spoken_in(entries((1, 2), (3,)))
    assert (whole.pid, whole.numbers, whole.faults) == (11, [0, 1, 2], [])
    (torn,) = judge.spoken_in(entries((1, 2), (5,)))
    assert [(fault.wrong, fault.count) for fault in torn.faults] == [(Wrong.LOST, 2)]
    (twice,) = judge.spoken_in(entries((1, 2), (2, 3)))
    assert [(fault.wrong, fault.count) for fault in twice.faults] == [(Wrong.DUPLICATED, 1)]
    (gap,) = judge.spoken_in([*entries((1,)), Entry("first", 1, m.Gap(2, 4, "full"), b"", 0)])
    assert [(fault.wrong, fault.count) for fault in gap.faults] == [(Wrong.LOST, 3)]
    assert wrongs(ended(spoken=[*said(), replace_faults(gap)]))[Wrong.LOST] == 3


def replace_faults(spoken: Spoken) -> Spoken:
    """The same faults, of an incarnation that has said nothing else."""
    return Spoken("third", 9, 99, faults=spoken.faults)


MISSING = Plant("third", 1, 0)
TWICE = Plant("third", 1, 2)
SAID_TWICE = [replace(each, numbers=[0, 1, 1, 2, 3]) if each.unit == "third" else each for each in said()]
SAID_NOT = [replace(each, numbers=[0, 2, 3]) if each.unit == "third" else each for each in said()]


@pytest.mark.parametrize(
    ("plant", "live", "expected"),
    [
        (None, failed(finding("missing", "second", "2")), {Wrong.FALSE_FAILED: 1}),
        (None, Judged(6, {"verdict": "inconclusive", "findings": []}), {Wrong.INCONCLUSIVE: 1}),
        (None, Judged(1, PASSED), {Wrong.BROKEN: 1}),
        (None, Judged(3, None), {Wrong.BROKEN: 1}),
        (None, Judged(0, PASSED | {"findings": [finding("late", "second", "2")]}), {Wrong.OTHER_FINDING: 1}),
        (TWICE, failed(finding("duplicate", "third", "1")), {}),
        (TWICE, Judged(0, PASSED), {Wrong.FALSE_PASSED: 1}),
        (TWICE, failed(finding("duplicate", "third", "2")), {Wrong.OTHER_FINDING: 1}),
        (MISSING, failed(finding("missing", "third", "1")), {}),
        (MISSING, Judged(0, PASSED), {Wrong.FALSE_PASSED: 1}),
        (MISSING, failed(), {Wrong.OTHER_FINDING: 1}),
    ],
)
def test_there_is_one_right_verdict(plant: Plant | None, live: Judged, expected: dict[Wrong, int]) -> None:
    spoken = {None: said(), TWICE: SAID_TWICE, MISSING: SAID_NOT}[plant]
    assert wrongs(ended(plan=replace(PLAN, plant=plant), spoken=spoken, live=live)) == expected


def test_what_verify_says_is_judged_too() -> None:
    assert wrongs(ended(again=Judged(0, PASSED))) == {}
    assert wrongs(ended(again=Judged(0, PASSED | {"notes": ["other"]}))) == {Wrong.VERIFY_DIFFERS: 1}
    assert Wrong.FALSE_FAILED in wrongs(ended(again=failed()))


CUT = LIVES | {"fourth": [Life(14, 0, 3, 2)]}
CUT_SAID = [replace(each, numbers=[0, 1]) if each.unit == "fourth" else each for each in said()]


@pytest.mark.parametrize(
    ("lives", "again", "expected"),
    [
        (CUT, Judged(6, {"verdict": "inconclusive", "findings": []}), {}),
        (CUT, Judged(0, PASSED), {Wrong.FALSE_PASSED: 1}),
        (LIVES, Judged(0, PASSED), {}),
        (CUT, failed(finding("missing", "fourth", "3")), {Wrong.FALSE_FAILED: 1}),
        (CUT, Judged(3, None), {Wrong.BROKEN: 1}),
        (CUT, None, {Wrong.BROKEN: 1}),
    ],
)
def test_a_run_whose_runner_was_killed_is_judged_by_verify(
    lives: dict[str, list[Life]], again: Judged | None, expected: dict[Wrong, int]
) -> None:
    spoken = CUT_SAID if lives is CUT else said()
    run = ended(lives=lives, spoken=spoken, live=Judged(-9, None), again=again, runner_killed=True)
    assert wrongs(run) == expected


def test_a_killed_run_may_be_accused_of_what_was_planted_and_of_nothing_else() -> None:
    plan = replace(PLAN, plant=TWICE)
    planted, other = finding("duplicate", "third", "1"), finding("missing", "third", "2")
    unclear = finding("count", "first", None, inconclusive=True)
    run = ended(plan=plan, spoken=SAID_TWICE, live=Judged(-9, None), runner_killed=True)
    assert wrongs(replace(run, again=failed(planted, unclear))) == {}
    assert wrongs(replace(run, again=failed(planted, other))) == {Wrong.FALSE_FAILED: 1}


def test_whatever_is_left_is_a_fault(tmp_path: Path) -> None:
    place = Place(tmp_path / "run", tmp_path / "temporary")
    place.temporary.mkdir()
    (place.temporary / "bus").touch()
    process = subprocess.Popen(["sleep", "1000"], env=place.environment())
    try:
        left = place.left()
    finally:
        process.kill()
        process.wait()
    assert left == ["sleep 1000", str(place.temporary / "bus")]
    assert wrongs(ended(left=left)) == {Wrong.LEFTOVER: 2}
    assert wrongs(ended(errors=["a traceback in broker.err"])) == {Wrong.BROKEN: 1}


# --- plans, tallies and reports ---------------------------------------------------------------------------------------


@given(st.integers(0, 10**6))
def test_a_plan_is_what_its_seed_says_and_can_be_played(seed: int) -> None:
    plan = plan_of(seed)
    assert plan == plan_of(seed)
    assert plan.events * len(UNITS) == 100_000
    assert len({strike.victim for strike in plan.strikes}) >= 2
    for strike in plan.strikes:
        assert 0 <= strike.count <= plan.events
    for unit in UNITS:
        assert plan.most(unit) <= 1 + MAX_KILLS_OF_A_UNIT
    if plan.plant is not None:
        assert plan.most(plan.plant.unit) == 1  # else nobody could tell what is planted from what the kill left
        assert plan.plant.copies != 1


def test_plans_differ_and_strike_everybody() -> None:
    plans = [plan_of(seed) for seed in range(200)]
    assert {strike.victim for plan in plans for strike in plan.strikes} == set(Victim)
    assert 20 < sum(plan.plant is not None for plan in plans) < 80
    assert len({plan.strikes for plan in plans}) == 200


def test_a_tally_outlives_whoever_wrote_it(tmp_path: Path) -> None:
    first = Tally(tmp_path / "tally", UNITS)
    assert (first.done("second"), first.pid("second"), first.lives("second")) == (0, 0, [])
    slot = first.begin("second")
    first.words[slot + 2], first.words[slot + 3] = 6, 5
    first.close()
    again = Tally(tmp_path / "tally", UNITS)
    again.begin("second")
    lives = [(life.first, life.begun, life.done) for life in again.lives("second")]
    assert lives == [(0, 6, 5), (5, 5, 5)]
    assert (again.done("second"), again.done("third")) == (5, 0)
    again.close()


def test_a_campaign_adds_up_and_names_its_bad_runs(tmp_path: Path) -> None:
    campaign = report.Campaign(seed=7, events_per_run=16)
    good = report.Played(replace(PLAN, seed=7), tmp_path, emitted=16)
    good.struck[Victim.UNIT] = 2
    good.struck[Victim.STALL] = 1
    bad = report.Played(replace(PLAN, seed=8), tmp_path, faults=[judge.Fault(Wrong.LOST, "", 3)])
    campaign.add(good)
    campaign.add(bad)
    assert (campaign.runs, campaign.kills, campaign.emitted) == (2, 2, 16)
    assert campaign.wrong == {"lost": 3}
    assert campaign.bad_seeds == [8]
    machine = {"date": "today", "system": "Linux", "cores": 2, "python": "3.11"}
    text = report.page(f"before\n{report.BEGIN}\nyesterday\n{report.END}\nbehind\n", {**campaign.figures(), **machine})
    assert text.startswith("before\n")
    assert text.endswith("\nbehind\n")
    assert "yesterday" not in text
    assert "| **events lost** | 3 |" in text
