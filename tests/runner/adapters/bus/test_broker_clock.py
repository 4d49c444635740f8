"""How far our clock is ahead of the broker's: never further off than the best trip leaves open."""

from hypothesis import given
from hypothesis import strategies as st

from probe.clock import MAX_DRIFT_PPM, drift_ns
from runner.adapters.bus.broker_clock import BrokerClock

MS = 1_000_000
SECOND = 1000 * MS
TRIPS = st.lists(st.tuples(st.integers(0, 2 * SECOND), st.integers(0, 2 * SECOND), st.integers(0, 60 * SECOND)))


def theirs(offset: int, ppm: int, ours_ns: int) -> int:
    """What the broker's clock shows when ours shows `ours_ns`."""
    return ours_ns - offset - ours_ns * ppm // 1_000_000


def test_there_is_no_difference_until_one_is_known() -> None:
    assert BrokerClock().ns == 0


def test_a_quick_trip_says_it_and_a_slow_one_does_not_spoil_it() -> None:
    lead = BrokerClock()
    lead.add(5 * SECOND, MS // 2, MS // 2, 5 * SECOND + MS)
    assert abs(lead.ns - 5 * SECOND) <= MS // 2 + drift_ns(MS)
    before = lead.ns
    lead.add(6 * SECOND, SECOND, SECOND, 8 * SECOND)
    assert abs(lead.ns - before) <= drift_ns(3 * SECOND)


def test_a_clock_that_was_set_back_is_believed_again() -> None:
    lead = BrokerClock()
    lead.add(5 * SECOND, 0, 0, 5 * SECOND + MS)
    lead.add(6 * SECOND, 60 * SECOND, 60 * SECOND, 6 * SECOND + MS)
    assert abs(lead.ns + 54 * SECOND) <= 2 * MS


def test_what_a_slow_answer_leaves_open_is_not_taken_for_a_clock_that_was_set_back() -> None:
    """The clocks drift apart as fast as they may, the first answer takes a second, the second PING does."""
    lead, end = BrokerClock(), 100 * SECOND
    for sent, received, returned in ((0, 0, SECOND), (10 * SECOND, 11 * SECOND, 11 * SECOND)):
        stamp = theirs(0, -MAX_DRIFT_PPM, received)
        lead.add(sent, stamp, stamp, returned)
        end = returned
    assert abs(lead.ns - (end - theirs(0, -MAX_DRIFT_PPM, end))) <= 10 * MS


@given(TRIPS, st.integers(-100 * SECOND, 100 * SECOND), st.integers(-MAX_DRIFT_PPM, MAX_DRIFT_PPM))
def test_the_truth_is_never_further_off_than_the_best_trip_leaves_open(
    trips: list[tuple[int, int, int]], offset: int, ppm: int
) -> None:
    lead, now, open_ns = BrokerClock(), 0, 0
    for there, back, pause in trips:
        before, sent = now, now + pause
        received, now = sent + there, sent + there + back
        stamp = theirs(offset, ppm, received)
        lead.add(sent, stamp, stamp, now)
        trip = there + back + 2 * drift_ns(there + back) + 2
        open_ns = min(trip, open_ns + 2 * drift_ns(now - before) + 2) if open_ns else trip
        assert abs(lead.ns - (now - theirs(offset, ppm, now))) <= open_ns // 2 + 2
