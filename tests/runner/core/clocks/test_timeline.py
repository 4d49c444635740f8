"""The timeline: whose stamps are translated, from which reports, and when that is final."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.event import Kind
from runner.core.clocks import Timeline
from runner.core.clocks.clock_map import FOREVER
from runner.core.clocks.remote_clock import PATIENCE_NS, STEP_NS
from runner.model.result.result import UNKNOWN
from tests.support.clock_world import DESK, MS, SECOND, play, world

OFFSET = 5 * SECOND


def data(*at: int, offset: int = OFFSET, half: int = 1 * MS) -> dict[str, object]:
    """A report with both bounds at these moments."""
    return {
        "low": [[moment, offset - half] for moment in at],
        "high": [[moment, offset + half] for moment in at],
        "rtt_ns": 2 * half,
    }


def lab(*, units: tuple[str, ...] = ("@lab", "worker")) -> Timeline:
    timeline = Timeline(DESK)
    timeline.join("api", 1, DESK)
    for unit in units:
        timeline.join(unit, 1, "lab")
    return timeline


def reported(timeline: Timeline, *, until: int = 2 * SECOND, **how: Any) -> Timeline:
    """With a report every 250 ms, each made 10 ms after the knot that it allows."""
    for stamp in range(STEP_NS + 10 * MS, until + 11 * MS, STEP_NS):
        timeline.report("@lab", 1, stamp, data(stamp - 20 * MS, **how))
    return timeline


def test_stamps_of_the_brokers_host_are_on_the_timeline_as_they_are() -> None:
    timeline = reported(lab())
    assert not timeline.is_remote("api", 1)
    assert timeline.to_common("api", 1, 17) == 17
    assert timeline.to_common_all("api", 1, [3, 2]) == [3, 2]
    assert timeline.known_ns(timeline.clock_of("api", 1)) == FOREVER
    assert timeline.to_host(DESK, 17) == 17


def test_an_incarnation_that_does_not_say_its_clock_lives_by_the_brokers() -> None:
    timeline = lab()
    timeline.join("script", 1, "")
    assert not timeline.is_remote("script", 1)
    assert timeline.clock_of("script", 1) == DESK
    assert timeline.error("script", 5, "api", 6) == 0


def test_no_clock_is_remote_before_it_is_known_where_the_broker_is() -> None:
    timeline = Timeline()
    timeline.join("@lab", 1, "lab")
    timeline.join("@local", 1, DESK)
    timeline.report("@lab", 1, STEP_NS, data(STEP_NS - MS))
    assert timeline.one_clock
    assert not timeline.is_remote("@lab", 1)
    assert timeline.error("@lab", 1, "@local", 2) == timeline.worst("@lab", "@local", 1, 2) == 0
    timeline.reference = DESK
    assert not timeline.one_clock
    assert timeline.is_remote("@lab", 1)
    assert not timeline.is_remote("@local", 1)
    assert timeline.known_ns("lab") == STEP_NS


def test_a_run_on_one_host_has_one_clock() -> None:
    timeline = Timeline(DESK)
    timeline.join("@local", 1, DESK)
    assert timeline.one_clock
    assert timeline.estimates(1) == ()


def test_a_stamp_is_translated_by_the_offset_of_its_moment() -> None:
    timeline = reported(lab())
    assert timeline.to_common("worker", 1, SECOND) == SECOND - OFFSET
    assert timeline.to_host("lab", SECOND - OFFSET) == SECOND


def test_between_two_knots_the_offset_goes_straight() -> None:
    timeline = lab()
    timeline.report("@lab", 1, STEP_NS, data(STEP_NS, half=0))
    timeline.report("@lab", 1, 2 * STEP_NS, data(2 * STEP_NS, offset=OFFSET + 100_000, half=0))
    middle = STEP_NS + STEP_NS // 2
    assert timeline.to_common("worker", 1, middle) == middle - OFFSET - 50_000
    assert timeline.known_ns("lab") == 2 * STEP_NS


def test_events_before_the_first_report_are_translated_by_it_with_a_larger_error() -> None:
    timeline = reported(lab())
    common = timeline.to_common("worker", 1, 0)
    assert common == -OFFSET
    at_knot = timeline.error("worker", timeline.to_common("worker", 1, STEP_NS), "api", 0)
    assert timeline.error("worker", common, "api", 0) == pytest.approx(at_knot + STEP_NS * 500e-6, abs=3)


def test_a_clock_is_known_as_far_as_it_is_reported() -> None:
    timeline = lab()
    assert timeline.known_ns("lab") == 0
    assert not timeline.report("@lab", 1, STEP_NS - 1, data(STEP_NS - MS))
    assert timeline.known_ns("lab") == 0
    assert timeline.report("@lab", 1, STEP_NS + 5, data(STEP_NS + 1))
    assert timeline.known_ns("lab") == STEP_NS
    assert timeline.report("@lab", 1, 3 * STEP_NS, {"low": [], "high": []})  # the broker was away, and says so
    assert timeline.known_ns("lab") == 3 * STEP_NS


def test_a_clock_of_which_only_one_bound_is_known_is_not_known() -> None:
    timeline = lab()
    assert not timeline.report("@lab", 1, STEP_NS, {"low": [[STEP_NS - 5, 3]], "high": []})
    timeline.close()
    assert timeline.to_common("worker", 1, 17) == 17
    assert timeline.error("worker", 17, "api", 3) == UNKNOWN
    assert timeline.worst("worker", "api", 17, 30) == UNKNOWN
    (estimate,) = timeline.estimates(17)
    assert (estimate.offset_ns, estimate.error_ns, estimate.drift_ppm) == (None, UNKNOWN, None)


def test_what_was_measured_since_the_last_knot_counts_in_the_end() -> None:
    timeline = lab()
    timeline.report("@lab", 1, STEP_NS - 7, data(STEP_NS - MS))
    timeline.close()
    assert timeline.known_ns("lab") == FOREVER
    assert timeline.to_common("worker", 1, SECOND) == SECOND - OFFSET
    assert MS <= timeline.error("worker", SECOND - OFFSET, "api", 0) < 2 * MS


def test_a_clock_that_is_given_up_is_known_for_ever_until_it_is_heard_again() -> None:
    timeline = reported(lab())
    assert timeline.give_up("lab")
    assert not timeline.give_up("lab")
    assert timeline.known_ns("lab") == FOREVER
    early, late = (timeline.to_common("worker", 1, stamp) for stamp in (2 * SECOND, 100 * SECOND))
    assert timeline.error("worker", late, "api", 0) > timeline.error("worker", early, "api", 0) + 40 * MS
    assert timeline.report("@lab", 1, 3 * SECOND, {"low": [], "high": []})
    assert timeline.known_ns("lab") == 3 * SECOND
    assert not timeline.give_up("nowhere")


def test_a_clock_is_given_up_with_the_last_word_of_the_last_who_reports_it() -> None:
    timeline = lab(units=("@lab", "@other", "worker"))
    for unit in ("@lab", "@other"):
        timeline.report(unit, 1, STEP_NS, data(STEP_NS - MS))
    assert not timeline.final("api", 1)
    assert not timeline.final("@lab", 1)
    assert timeline.known_ns("lab") == STEP_NS
    assert timeline.final("@other", 1)
    assert timeline.known_ns("lab") == FOREVER


def test_about_the_clock_of_a_unit_on_a_host_without_supervisor_no_other_is_believed() -> None:
    """Any unit may say that it is on a host."""
    timeline = lab(units=("worker", "liar"))
    for stamp in range(STEP_NS, 9 * STEP_NS, STEP_NS):
        timeline.report("liar", 1, stamp, data(stamp - MS, offset=OFFSET + 150 * MS))
        assert timeline.known_ns(timeline.clock_of("worker", 1)) == stamp - STEP_NS
        timeline.report("worker", 1, stamp, data(stamp - MS))
    assert timeline.to_common("worker", 1, OFFSET + STEP_NS) == STEP_NS
    assert timeline.error("worker", STEP_NS, "api", STEP_NS) < 10 * MS


def test_of_several_supervisors_of_a_host_none_is_believed_to_know_better() -> None:
    timeline = lab(units=("@lab", "@other", "worker"))
    for stamp in range(STEP_NS, 9 * STEP_NS, STEP_NS):
        timeline.report("@other", 1, stamp, data(stamp - MS, offset=OFFSET + 10 * MS, half=MS))
        assert timeline.known_ns("lab") == stamp - STEP_NS, "before the other one has reported it"
        timeline.report("@lab", 1, stamp, data(stamp - MS, half=20 * MS))
    assert timeline.contested == ()
    assert 20 * MS <= timeline.error("worker", STEP_NS, "api", STEP_NS) < 22 * MS


def test_where_two_supervisors_contradict_each_other_nothing_is_known_about_the_clock_of_their_host() -> None:
    timeline = lab(units=("@lab", "@other", "worker"))
    for stamp in range(STEP_NS, 9 * STEP_NS, STEP_NS):
        timeline.report("@lab", 1, stamp, data(stamp - MS))
        timeline.report("@other", 1, stamp, data(stamp - MS, offset=OFFSET - 150 * MS))
    assert timeline.contested == (("@lab", "@other"),)
    assert timeline.error("worker", STEP_NS, "api", STEP_NS) == UNKNOWN
    assert timeline.worst("worker", "api", STEP_NS, 2 * STEP_NS) == UNKNOWN
    assert all(estimate.error_ns == UNKNOWN for estimate in timeline.estimates(8 * STEP_NS))


def test_messages_of_units_that_the_run_has_not_started_say_nothing_about_clocks() -> None:
    def with_message_by(sender: str) -> int:
        timeline = Timeline(DESK, external=["stranger"])
        for unit, boot in (("api", DESK), ("@lab", "lab"), ("worker", "lab"), ("stranger", "lab")):
            timeline.join(unit, 1, boot)
        for at in range(STEP_NS, 9 * STEP_NS, 10 * MS):  # as if the clock were ahead by 0.9 ms more than in the middle
            timeline.hint(sender, 1, Kind.SEND, f"from{at}", at + OFFSET + 8 * MS // 10)
            timeline.hint("api", 1, Kind.RECEIVE, f"from{at}", at)
            timeline.hint("api", 1, Kind.SEND, f"to{at}", at)
            timeline.hint(sender, 1, Kind.RECEIVE, f"to{at}", at + OFFSET + MS)
        reported(timeline, until=9 * STEP_NS + OFFSET)
        return timeline.error("worker", 5 * STEP_NS, "api", 5 * STEP_NS)

    assert with_message_by("stranger") == with_message_by("nobody") > with_message_by("worker")


def test_where_there_is_a_supervisor_only_its_reports_count() -> None:
    timeline = lab()
    assert not timeline.report("worker", 1, STEP_NS, data(STEP_NS - MS))
    assert timeline.known_ns("lab") == 0
    assert timeline.report("@lab", 1, STEP_NS, data(STEP_NS - MS))
    alone = lab(units=("worker",))
    assert alone.report("worker", 1, STEP_NS, data(STEP_NS - MS))


def test_reports_of_the_brokers_own_host_and_of_strangers_are_ignored() -> None:
    timeline = lab()
    assert not timeline.report("api", 1, STEP_NS, data(STEP_NS - MS))
    assert not timeline.report("nobody", 1, STEP_NS, data(STEP_NS - MS))
    assert timeline.malformed == 0


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        {},
        {"low": [], "high": 3},
        {"low": [[1]], "high": []},
        {"low": [[1, "2"]], "high": []},
        {"low": [[True, 1]], "high": []},
        {"low": [[2 * SECOND, 1]], "high": []},
        {"low": [[1, 1 << 63]], "high": []},
        {"low": [], "high": [], "rtt_ns": -1},
    ],
)
def test_a_report_that_makes_no_sense_is_counted_and_changes_nothing(rubbish: object) -> None:
    timeline = lab()
    assert not timeline.report("@lab", 1, SECOND, rubbish)
    assert timeline.malformed == 1
    assert timeline.known_ns("lab") == 0


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["low", "high", "rtt_ns"]), inner),
    max_leaves=12,
)


@given(st.lists(st.tuples(anything, anything), max_size=5))
def test_no_report_whatever_breaks_it(reports: list[tuple[object, object]]) -> None:
    timeline = lab()
    for stamp, rubbish in reports:
        timeline.report("@lab", 1, stamp, rubbish)
    timeline.close()
    timeline.estimates(SECOND)
    assert timeline.to_common_all("worker", 1, [1, SECOND]) == sorted(timeline.to_common_all("worker", 1, [1, SECOND]))


def test_two_events_of_one_clock_have_no_error() -> None:
    timeline = reported(lab(units=("@lab", "worker", "other")))
    assert timeline.error("worker", 5, "other", 9) == timeline.worst("worker", "other", 0, SECOND) == 0
    assert timeline.error("worker", 5, "worker", 9) == 0
    assert timeline.error("worker", 5, "api", 9) > 0


def test_a_unit_that_has_moved_counts_as_badly_as_its_worst_clock() -> None:
    timeline = reported(lab(units=("@lab", "worker", "other")))
    at = SECOND - OFFSET
    before = timeline.error("worker", at, "api", at)
    timeline.join("other", 2, DESK)
    assert timeline.error("other", at, "api", at) == before
    assert timeline.error("other", at, "worker", at) == before
    assert timeline.worst("other", "worker", at, at + MS) >= before


def test_two_remote_clocks_are_off_by_both_of_their_errors() -> None:
    timeline = reported(lab())
    timeline.join("@far", 1, "far")
    timeline.report("@far", 1, STEP_NS, data(STEP_NS, half=3 * MS, offset=-OFFSET))
    at = STEP_NS - OFFSET
    far = STEP_NS + OFFSET
    assert timeline.error("worker", at, "@far", far) == pytest.approx(
        timeline.error("worker", at, "api", at) + timeline.error("@far", far, "api", far), abs=0
    )


def test_a_machine_that_slept_is_noticed_and_the_error_covers_it() -> None:
    timeline = reported(lab())
    slept = OFFSET - 10 * SECOND  # its clock stood still meanwhile
    for stamp in range(2 * SECOND + STEP_NS, 4 * SECOND, STEP_NS):
        timeline.report("@lab", 1, stamp, data(stamp - 20 * MS, offset=slept))
    (estimate,) = timeline.estimates(4 * SECOND - slept)
    assert estimate.jumps == 1
    between = timeline.to_common("worker", 1, 2 * SECOND + STEP_NS // 2)
    for truth in (OFFSET, slept):
        assert abs(2 * SECOND + STEP_NS // 2 - truth - between) <= timeline.error("worker", between, "api", 0)
    assert timeline.to_common("worker", 1, 3 * SECOND) == 3 * SECOND - slept
    assert timeline.error("worker", 3 * SECOND - slept, "api", 0) < 2 * MS
    assert timeline.worst("worker", "api", 2 * SECOND - OFFSET, 3 * SECOND - slept) >= 10 * SECOND


def test_time_does_not_run_backwards_though_the_brokers_machine_slept() -> None:
    timeline = reported(lab())
    slept = OFFSET + 2 * SECOND
    for stamp in range(2 * SECOND + STEP_NS, 9 * SECOND, STEP_NS):
        timeline.report("@lab", 1, stamp, data(stamp, offset=slept))
    common = timeline.to_common_all("worker", 1, list(range(SECOND, 9 * SECOND, 10 * MS)))
    assert all(earlier < later for earlier, later in pairwise(common))
    for stamp, moment in zip(range(3 * SECOND, 9 * SECOND, 10 * MS), common[200:], strict=True):
        assert abs(stamp - slept - moment) <= timeline.error("worker", moment, "api", 0)
    assert common[-1] == 9 * SECOND - 10 * MS - slept


numbers = st.integers(-(10**10), 10**10)
some_reports = st.lists(
    st.tuples(
        st.integers(0, 3 * SECOND),
        st.lists(st.tuples(st.integers(0, SECOND), numbers), max_size=4),
        st.lists(st.tuples(st.integers(0, SECOND), numbers), max_size=4),
    ),
    max_size=12,
)


def said(reports: list[tuple[int, Any, Any]]) -> list[tuple[int, dict[str, object]]]:
    """Reports that make sense in form, though maybe in nothing else."""
    stamp, made = 0, []
    for pause, low, high in reports:
        stamp += pause
        made.append(
            (
                stamp,
                {
                    "low": [[stamp - min(ago, stamp), bound] for ago, bound in low],
                    "high": [[stamp - min(ago, stamp), bound] for ago, bound in high],
                },
            )
        )
    return made


@given(some_reports, st.lists(st.integers(0, 40 * SECOND), max_size=30))
def test_later_stamps_are_never_earlier_on_the_timeline_whatever_is_reported(reports: Any, stamps: list[int]) -> None:
    timeline = lab()
    for stamp, report in said(reports):
        timeline.report("@lab", 1, stamp, report)
    timeline.close()
    stamps.sort()
    common = timeline.to_common_all("worker", 1, stamps)
    assert common == sorted(common)
    assert common == [timeline.to_common("worker", 1, stamp) for stamp in stamps]
    for stamp, moment in zip(stamps, common, strict=True):
        if timeline.error("worker", moment, "api", 0) < UNKNOWN:
            assert abs(timeline.to_host("lab", moment) - stamp) <= 2


@given(some_reports)
def test_what_is_known_stays_as_it_is(reports: Any) -> None:
    timeline = lab()
    known: list[tuple[int, int]] = []
    for stamp, report in said(reports):
        timeline.report("@lab", 1, stamp, report)
        until = timeline.known_ns("lab")
        for earlier, common in known:
            assert timeline.to_common("worker", 1, earlier) == common
        known = [(at, timeline.to_common("worker", 1, at)) for at in range(0, until, max(1, until // 7))]


@given(some_reports, some_reports, st.randoms())
def test_it_does_not_matter_which_host_is_heard_first(one: Any, two: Any, chance: Any) -> None:
    reports = [("@lab", *report) for report in said(one)] + [("@far", *report) for report in said(two)]
    order = sorted(range(len(reports)), key=lambda _: chance.random())
    mixed = [report for _, report in sorted(zip(sorted(order), reports, strict=True))]
    outcomes = []
    for log in (reports, mixed, reports[len(one) :] + reports[: len(one)], interleaved(reports, chance)):
        timeline = lab()
        timeline.join("@far", 1, "far")
        for unit, stamp, report in log:
            timeline.report(unit, 1, stamp, report)
        timeline.close()
        stamps = list(range(0, 36 * SECOND, 700 * MS))
        outcomes.append([timeline.to_common_all(unit, 1, stamps) for unit in ("@lab", "@far")])
    assert all(outcome == outcomes[0] for outcome in outcomes)


def interleaved(reports: list[Any], chance: Any) -> list[Any]:
    """Another order, in which those of one unit keep theirs."""
    queues = [[r for r in reports if r[0] == unit] for unit in ("@lab", "@far")]
    out = []
    while any(queues):
        out.append(chance.choice([queue for queue in queues if queue]).pop(0))
    return out


@given(some_reports, st.integers(-20 * SECOND, 40 * SECOND), st.integers(0, 20 * SECOND), st.integers(0, 20 * SECOND))
def test_the_worst_error_of_a_span_is_no_smaller_than_any_in_it(
    reports: Any, first: int, length: int, inside: int
) -> None:
    timeline = lab()
    for stamp, report in said(reports):
        timeline.report("@lab", 1, stamp, report)
    at = first + min(inside, length)
    assert timeline.error("worker", at, "api", at) <= timeline.worst("worker", "api", first, first + length)


def test_while_the_broker_is_away_the_error_grows_and_stays_true() -> None:
    timeline = reported(lab())
    for stamp in range(2 * SECOND + STEP_NS, 12 * SECOND, STEP_NS):
        timeline.report("@lab", 1, stamp, {"low": [], "high": []})
    drifted = OFFSET + 5 * MS - 100_000
    timeline.report("@lab", 1, 12 * SECOND, data(12 * SECOND, offset=drifted))
    at = 11 * SECOND
    common = timeline.to_common("worker", 1, at)
    truth = at - OFFSET - round(4.9 * MS * 9 / 10)
    assert abs(common - truth) <= timeline.error("worker", common, "api", common) <= 7 * MS


def test_an_estimate_has_offset_error_drift_and_age() -> None:
    timeline = lab()
    for stamp in range(STEP_NS, 20 * SECOND + 1, STEP_NS):
        timeline.report("@lab", 1, stamp, data(stamp - 20 * MS, offset=OFFSET + stamp // 10_000, half=MS // 10))
    (estimate,) = timeline.estimates(21 * SECOND - OFFSET)
    assert estimate.clock == "lab"
    assert estimate.units == ("@lab", "worker")
    assert estimate.offset_ns == pytest.approx(OFFSET + 2 * MS, abs=MS // 10)
    assert estimate.error_ns == pytest.approx(MS // 10 + 510_000, abs=5_000)
    assert estimate.drift_ppm == pytest.approx(100, abs=estimate.drift_error_ppm)
    assert estimate.drift_error_ppm < 15
    assert estimate.rtt_ns == MS // 5
    assert estimate.age_ns == pytest.approx(SECOND + 20 * MS, abs=3 * MS)
    assert estimate.jumps == 0


def test_a_drift_that_is_not_known_yet_is_not_given() -> None:
    timeline = lab()
    timeline.report("@lab", 1, STEP_NS, data(STEP_NS - MS))
    (estimate,) = timeline.estimates(SECOND)
    assert (estimate.drift_ppm, estimate.drift_error_ppm) == (None, 500)


def test_a_run_of_hours_is_kept_in_little_memory_and_its_old_errors_stay_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.core.clocks.clock_map.FINE", 20)
    made = world(5, hops=2000)
    timeline = play(made, hints=False)
    for host in made.samples:
        assert len(timeline._remote[host].knots) < 60
    for hop in made.hops:
        late = [timeline.to_common(host, 1, at) for host, at in ((hop.sender, hop.sent), (hop.receiver, hop.received))]
        for moments in (hop.common, late):  # as they were translated then, and as they would be now
            error = timeline.error(hop.receiver, moments[1], hop.sender, moments[0])
            assert abs(moments[1] - moments[0] - hop.true_ns) <= error
            assert error <= timeline.worst(hop.receiver, hop.sender, min(moments), max(moments))


def test_a_supervisor_that_never_reports_holds_back_the_clock_of_its_host_for_a_while_and_not_for_ever() -> None:
    timeline = reported(lab(units=("@lab", "@liar", "worker")), until=2 * SECOND)
    assert timeline.known_ns("lab") == 0
    reported(timeline, until=PATIENCE_NS + 2 * SECOND)
    assert timeline.known_ns("lab") == 2 * SECOND
    timeline.report("@liar", 1, PATIENCE_NS, data(PATIENCE_NS, offset=OFFSET + SECOND))
    reported(timeline, until=PATIENCE_NS + 4 * SECOND)
    assert timeline.contested == (("@liar", "@lab"),)


def test_nothing_waits_for_reports_of_a_supervisor_that_is_gone_without_its_last_word() -> None:
    timeline = lab(units=("@lab", "@twin", "worker"))
    timeline.report("@twin", 1, STEP_NS + MS, data(STEP_NS))
    reported(timeline, until=2 * SECOND)
    assert timeline.known_ns("lab") == STEP_NS
    assert timeline.lose("@twin")
    assert timeline.known_ns("lab") == 2 * SECOND
    assert not timeline.lose("@twin")
    reported(timeline, until=3 * SECOND)
    assert timeline.known_ns("lab") == 3 * SECOND
    assert timeline.lose("@lab")
    assert timeline.known_ns("lab") == FOREVER
    assert not timeline.lose("@stranger")
