"""The time of a run: no unit is late that the runner could not hear."""

from runner.session.clock import RESUME_NS, Clock

SECOND = 1_000_000_000


def test_time_goes_on_while_the_broker_is_there() -> None:
    clock = Clock(0)
    assert not clock.tell(5, heard=True, connection=1)
    assert (clock.now_ns, clock.away_ns) == (5, 0)


def test_time_stands_still_while_the_broker_is_away_and_until_units_have_had_their_say() -> None:
    clock = Clock(0)
    clock.tell(1 * SECOND, heard=True, connection=1)
    assert not clock.tell(2 * SECOND, heard=False, connection=1)
    assert not clock.tell(3 * SECOND, heard=False, connection=2)
    assert (clock.now_ns, clock.away_ns) == (1 * SECOND, 2 * SECOND)
    assert clock.tell(4 * SECOND, heard=True, connection=2), "it has just come back"
    assert not clock.tell(4 * SECOND + RESUME_NS - 1, heard=True, connection=2)
    assert (clock.now_ns, clock.away_ns) == (1 * SECOND, 0)
    clock.tell(4 * SECOND + RESUME_NS, heard=True, connection=2)
    assert clock.now_ns == 4 * SECOND + RESUME_NS


def test_a_broker_that_was_away_between_two_looks_is_noticed_all_the_same() -> None:
    clock = Clock(0)
    assert clock.tell(1 * SECOND, heard=True, connection=2)
    assert clock.tell(2 * SECOND, heard=True, connection=3)
    assert not clock.tell(1 * SECOND + RESUME_NS, heard=True, connection=3)
    assert clock.now_ns == 0


def test_a_broker_that_stood_still_is_back_though_the_connection_is_the_same() -> None:
    clock = Clock(0)
    clock.tell(1 * SECOND, heard=True, connection=1)
    clock.tell(2 * SECOND, heard=False, connection=1)
    assert clock.tell(9 * SECOND, heard=True, connection=1)
    assert clock.now_ns == 1 * SECOND, "units are yet to say what happened meanwhile"
    assert not clock.tell(9 * SECOND + RESUME_NS, heard=True, connection=1)
    assert clock.now_ns == 9 * SECOND + RESUME_NS
