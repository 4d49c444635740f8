"""What waits for its clock, and that it goes on in order, once, and whatever a unit has sent."""

from collections.abc import Iterable
from typing import Any

from probe.event import Event, Kind
from runner.core.clocks import Timeline
from runner.core.clocks.remote_clock import STEP_NS
from runner.core.lockstep.skews import Skews
from runner.session.retiming import Retiming

DESK, LAB, FIELD = "desk", "lab", "field"
MS = 1_000_000
SECOND = 1_000 * MS
AHEAD = {LAB: 5 * SECOND, FIELD: -2 * SECOND}
BEGIN = 100 * SECOND
UNITS = (("api", DESK), ("worker", LAB), ("helper", LAB), ("cam", FIELD))


class Judge:
    """What a `Verifier` would get, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def join(self, unit: str, incarnation: int, supervisors: Iterable[str] = (), *, journal: bool = True) -> None:
        assert journal
        self.calls.append(("join", unit, incarnation, *supervisors))

    def batch(
        self, unit: str, incarnation: int, records: list[Any], watermark_ns: int, first: int | None = None
    ) -> None:
        assert (incarnation, first) == (1, None)
        self.calls.append(("batch", unit, [record[1] for record in records], watermark_ns))

    def lose(self, unit: str, incarnation: int, first: int, last: int, why: str) -> None:
        assert incarnation == 1
        self.calls.append(("lose", unit, first, last, why))

    def final(self, unit: str, incarnation: int, last: int) -> None:
        assert incarnation == 1
        self.calls.append(("final", unit, last))

    def end_unit(self, unit: str, stopped_ns: int | None = None, *, cut_off: bool = False) -> None:
        self.calls.append(("end", unit) if stopped_ns is None else ("end", unit, stopped_ns, cut_off))


class Play:
    """A run whose units live on three hosts: "api" on the desk, "worker" and "helper" in the lab, "cam" in the field.
    Moments are on the timeline."""

    def __init__(self) -> None:
        self.judge, self.skews = Judge(), Skews()
        self.timeline = Timeline(DESK)
        self.translation = Retiming(self.judge, self.timeline, self.skews)  # type: ignore[arg-type]
        for unit, boot in (("@lab", LAB), ("@field", FIELD), *UNITS):
            self.translation.join(unit, 1, boot)
        self.judge.calls.clear()

    def says(self, unit: str, boot: str, *moments: int, watermark_ns: int = 0) -> None:
        ahead = AHEAD.get(boot, 0)
        records = [[seq, moment + ahead, "step", 0, None, None] for seq, moment in enumerate(moments, 1)]
        self.translation.batch(unit, 1, records, watermark_ns and watermark_ns + ahead)

    def known(self, boot: str, until_ns: int) -> None:
        """The supervisor there reports, so that stamps up to `until_ns` can be translated."""
        at = until_ns + AHEAD[boot]
        at = -(-at // STEP_NS) * STEP_NS + 1
        bounds = {"low": [[at - 1, AHEAD[boot]]], "high": [[at - 1, AHEAD[boot]]], "rtt_ns": 0}
        self.translation.clock(Event(f"@{boot}", 1, 1, at, "clock", Kind.STATE, None, bounds))

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        return self.judge.calls


def test_what_the_timelines_own_clock_has_stamped_never_waits() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.says("api", DESK, BEGIN, watermark_ns=BEGIN + 1)
    play.translation.final("api", 1, 1)
    play.translation.end_unit("api")
    assert play.calls == [("batch", "api", [BEGIN], BEGIN + 1), ("final", "api", 1), ("end", "api")]
    assert play.translation.waiting


def test_what_a_foreign_clock_has_stamped_waits_until_it_is_known_and_goes_on_in_order_on_the_timeline() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN, BEGIN + 5)
    play.says("helper", LAB, BEGIN + 1, watermark_ns=BEGIN + 2)
    play.translation.final("worker", 1, 2)
    assert play.calls == []
    play.known(LAB, BEGIN + SECOND)
    assert play.calls == [
        ("batch", "worker", [BEGIN, BEGIN + 5], 0 - AHEAD[LAB]),
        ("batch", "helper", [BEGIN + 1], BEGIN + 2),
        ("final", "worker", 2),
    ]
    assert not play.translation.waiting


def test_a_clock_that_is_known_keeps_only_those_waiting_whom_it_does_not_reach_yet() -> None:
    play = Play()
    play.known(LAB, BEGIN + SECOND)
    play.says("worker", LAB, BEGIN + SECOND // 2)
    assert [call[:2] for call in play.calls] == [("batch", "worker")]
    play.says("worker", LAB, BEGIN + 5 * SECOND)
    play.says("helper", LAB, BEGIN + SECOND // 2)  # its stamps are known, and yet it is not its turn
    assert len(play.calls) == 1
    play.known(LAB, BEGIN + 6 * SECOND)
    assert [call[1] for call in play.calls] == ["worker", "worker", "helper"]


def test_one_clock_does_not_wait_for_the_other() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.says("cam", FIELD, BEGIN)
    play.known(FIELD, BEGIN + SECOND)
    assert [call[:3] for call in play.calls] == [("batch", "cam", [BEGIN])]


def test_a_watermark_alone_waits_for_its_moment() -> None:
    play = Play()
    play.known(LAB, BEGIN)
    play.says("worker", LAB, watermark_ns=BEGIN + SECOND)
    assert play.calls == []
    play.known(LAB, BEGIN + 2 * SECOND)
    assert play.calls == [("batch", "worker", [], BEGIN + SECOND)]


def test_the_end_of_a_unit_comes_after_all_that_it_said() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.translation.final("worker", 1, 1)
    play.translation.end_unit("worker")
    assert play.calls == []
    play.known(LAB, BEGIN + SECOND)
    assert [call[0] for call in play.calls] == ["batch", "final", "end"]


def test_units_of_one_host_that_end_together_do_not_wait_for_each_other_for_ever() -> None:
    play = Play()
    for unit in ("worker", "helper"):
        play.says(unit, LAB, BEGIN)
        play.translation.end_unit(unit)
    play.known(LAB, BEGIN + SECOND)
    assert [call for call in play.calls if call[0] == "end"] == [("end", "worker"), ("end", "helper")]


def test_the_end_of_a_unit_does_not_wait_for_what_others_say_after_it() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.translation.end_unit("worker")
    play.says("helper", LAB, BEGIN + 10 * SECOND)
    play.known(LAB, BEGIN + SECOND)
    assert play.calls[-1] == ("end", "worker")
    assert play.translation.waiting


def test_the_end_of_a_unit_that_lived_on_two_hosts_comes_after_what_waits_on_both() -> None:
    for first, second in ((LAB, FIELD), (FIELD, LAB)):
        play = Play()
        play.translation.join("cam", 2, LAB)
        play.says("worker", LAB, BEGIN)
        play.says("cam", FIELD, BEGIN)
        play.translation.end_unit("cam")
        play.known(first, BEGIN + SECOND)
        assert ("end", "cam") not in play.calls
        play.known(second, BEGIN + SECOND)
        play.translation.release()
        assert play.calls[-1] == ("end", "cam")


def test_a_unit_that_never_said_anything_ends_at_once() -> None:
    play = Play()
    play.translation.end_unit("worker")
    play.translation.end_unit("unheard-of")
    assert play.calls == [("end", "worker"), ("end", "unheard-of")]


def test_when_no_reports_about_a_clock_come_any_more_what_is_known_has_to_do() -> None:
    play = Play()
    play.known(LAB, BEGIN)
    play.says("worker", LAB, BEGIN + 60 * SECOND)
    assert play.calls == []
    play.translation.final("@lab", 1, 9)
    assert play.calls == [("batch", "worker", [BEGIN + 60 * SECOND], -AHEAD[LAB])]


def test_at_the_end_everything_goes_on_whether_its_clock_is_known_or_not() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.says("cam", FIELD, BEGIN)
    for unit in ("worker", "cam"):
        play.translation.final(unit, 1, 1)
        play.translation.end_unit(unit)
    play.translation.close()
    assert not play.translation.waiting
    assert sorted(call[:2] for call in play.calls) == sorted(
        (what, unit) for unit in ("worker", "cam") for what in ("batch", "final", "end")
    )
    assert ("batch", "worker", [BEGIN + AHEAD[LAB]], 0) in play.calls, "as it is: nothing is known about that clock"


def test_a_loss_is_reported_at_once() -> None:
    play = Play()
    play.says("worker", LAB, BEGIN)
    play.translation.lose("worker", 1, 3, 4, "full")
    assert play.calls == [("lose", "worker", 3, 4, "full")]


def test_supervisors_are_no_units_for_the_verifier() -> None:
    play = Play()
    play.translation.join("@new", 1, LAB)
    play.translation.final("@lab", 1, 5)
    assert play.calls == []


def test_records_of_which_nothing_can_be_made_survive_and_hold_up_no_other() -> None:
    play = Play()
    rubbish: list[Any] = [
        [1, "soon", "step", 0, None, None],
        [2, None, ["step"], 1, ["key"], None],
        [3, True, "step", {}, "k", None],
        [4, BEGIN + AHEAD[LAB], "step", 1, {}, None],
        [5, 1.5, "step", 2, "k", None],
    ]
    play.translation.batch("worker", 1, rubbish, 0)
    assert play.calls == []
    play.known(LAB, BEGIN + SECOND)
    assert play.calls == [("batch", "worker", ["soon", None, True, BEGIN, 1.5], -AHEAD[LAB])]


def passed(unit: str, went_ns: object, ask: object = "barrier/go/1") -> Event:
    return Event(unit, 1, 1, 0, "passed", Kind.STATE, "go", {"ask": ask, "went_ns": went_ns})


def test_who_passed_a_barrier_when_is_reported_on_the_timeline_once_its_clock_is_known() -> None:
    play = Play()
    play.translation.passed(passed("api", BEGIN))
    play.translation.passed(passed("worker", BEGIN + 3 * MS + AHEAD[LAB]))
    play.translation.passed(passed("cam", BEGIN + MS + AHEAD[FIELD]))
    (before,) = play.skews.results(lambda *_: 0)
    assert (before.rounds, before.skew_max_ns) == (1, 0)
    play.known(LAB, BEGIN + SECOND)
    play.known(FIELD, BEGIN + SECOND)
    (after,) = play.skews.results(lambda *_: 7)
    assert (after.name, after.rounds, after.skew_max_ns, after.error_ns) == ("go", 1, 3 * MS, 7)


def test_who_passed_a_barrier_and_does_not_say_when_is_ignored() -> None:
    play = Play()
    for event in (passed("api", None), passed("api", "now"), passed("api", True), passed("api", 5, ask=None)):
        play.translation.passed(event)
    assert play.skews.results(lambda *_: 0) == ()


def test_a_part_that_cannot_wait_gets_the_stamp_as_well_as_it_is_known_now() -> None:
    play = Play()
    ours = Event("api", 1, 1, BEGIN, "step", Kind.DEFAULT, None, {})
    theirs = Event("worker", 1, 1, BEGIN + AHEAD[LAB], "step", Kind.DEFAULT, None, {})
    assert play.translation.at_once(ours) is ours
    assert play.translation.at_once(theirs) == theirs
    play.known(LAB, BEGIN)
    assert play.translation.at_once(theirs).stamp_ns == BEGIN
