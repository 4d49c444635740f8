"""What exchanges with the broker say about the offset of its clock: always the truth, and no more than is needed."""

from hypothesis import given
from hypothesis import strategies as st

from probe.clock import drift_ns
from probe.sampling import Sampler, undominated

SECOND = 1_000_000_000


def bounds(report: dict[str, object], which: str) -> list[tuple[int, int]]:
    found = report[which]
    assert isinstance(found, list)
    return [(moment, bound) for moment, bound in found]


@given(
    offset=st.integers(-(10**13), 10**13),
    drifts=st.lists(st.tuples(st.integers(0, SECOND), st.integers(-500, 500)), min_size=1, max_size=5),
    exchanges=st.lists(
        st.tuples(st.integers(0, SECOND), st.integers(0, SECOND), st.integers(0, SECOND), st.integers(0, SECOND)),
        min_size=1,
        max_size=20,
    ),
    reports_after=st.sets(st.integers(0, 20)),
)
def test_the_truth_is_inside_whatever_the_delays_and_the_drift(
    offset: int,
    drifts: list[tuple[int, int]],
    exchanges: list[tuple[int, int, int, int]],
    reports_after: set[int],
) -> None:
    def true_offset(host_ns: int) -> float:
        """The drift changes now and then; the last one stays."""
        left, value = float(host_ns), float(offset)
        for length, ppm in [*drifts[:-1], (1 << 62, drifts[-1][1])]:
            span = min(left, length)
            value += span * ppm / 1e6
            left -= span
        return value

    sampler = Sampler()
    reports = []
    now, reported = 0, 0
    for number, (pause, out, inside, back) in enumerate(exchanges):
        sent = now + pause
        read, written, returned = sent + out, sent + out + inside, sent + out + inside + back
        sampler.add(
            sent,
            round(read - true_offset(read)),
            round(written - true_offset(written)),
            returned,
        )
        now = returned
        if number in reports_after:
            reports.append(sampler.report())
            reported = now + 5
            sampler.reported(reported)
            now = reported + 1
    reports.append(sampler.report())
    for report in reports:
        for moment, low in bounds(report, "low"):
            assert low <= true_offset(moment) + 1
        for moment, high in bounds(report, "high"):
            assert high >= true_offset(moment) - 1


def test_a_report_has_only_what_no_other_bound_makes_superfluous() -> None:
    sampler = Sampler()
    sampler.add(1_000, 1_500, 1_500, 2_000)
    sampler.add(3_000, 3_900, 3_900, 4_000)  # a worse lower bound, a better upper one
    sampler.add(5_000, 6_000, 6_000, 9_000)  # worse in both
    assert sampler.report() == {"low": [[1_000, -500]], "high": [[4_000, 100]], "rtt_ns": 1_000}


def test_a_bound_is_reported_again_when_the_older_one_has_aged_more() -> None:
    later = 1_000 + 2 * SECOND  # a millisecond of drift
    assert undominated([(later, -100_000), (1_000, 0)]) == [(1_000, 0), (later, -100_000)]
    assert undominated([(later, -1_000_000), (1_000, 0)]) == [(1_000, 0)]


def test_a_report_is_about_what_came_since_the_last_one() -> None:
    sampler = Sampler()
    sampler.add(1_000, 1_500, 1_500, 2_000)
    sampler.report()
    assert len(sampler) == 0
    assert sampler.report() == {"low": [], "high": []}


def test_nothing_is_reported_about_a_moment_before_a_report_that_is_out() -> None:
    sampler = Sampler()
    sampler.report()
    sampler.reported(5_000_000)
    sampler.add(1_000_000, 1_500_000, 1_500_000, 6_000_000)  # asked before the report, answered after it
    report = sampler.report()
    assert report["low"] == [[5_000_001, -500_000 - drift_ns(4_000_001)]]
    assert report["high"] == [[6_000_000, 4_500_000]]


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(-(10**7), 10**7)), max_size=30))
def test_what_is_left_says_as_much_as_everything(everything: list[tuple[int, int]]) -> None:
    kept = undominated(everything)
    assert kept == sorted(kept)
    for moment, bound in everything:
        assert any(other - drift_ns(moment - at) >= bound for at, other in kept)
    for moment, bound in kept:
        assert not any(other - drift_ns(moment - at) >= bound for at, other in kept if (at, other) != (moment, bound))
