"""The parts of the log reader that take values: catching up, signs of life, counters over restarts."""

from collections import Counter

import pytest

from probe import message as m
from runner.adapters.bus.broker_counters import BrokerCounters
from runner.adapters.bus.catch_up import CatchUp
from runner.adapters.bus.liveness import GAP_NS, SILENT_NS, Liveness


def test_orders_wait_until_the_log_is_read_up_to_the_end_that_the_broker_named_first() -> None:
    catch_up = CatchUp()
    assert catch_up.is_done
    catch_up.begin(is_needed=True)
    assert not catch_up.is_done
    assert not catch_up.completed_by(10, 100)
    assert not catch_up.completed_by(99, 200)
    assert catch_up.completed_by(100, 300)
    assert catch_up.is_done
    assert not catch_up.completed_by(300, 300), "only once"


@pytest.mark.parametrize("before", [False, True])
def test_a_connection_with_nothing_to_catch_up_with_is_done_at_once(before: bool) -> None:
    catch_up = CatchUp()
    catch_up.begin(is_needed=before)
    catch_up.begin(is_needed=False)
    assert catch_up.is_done
    assert not catch_up.completed_by(0, 100)


def test_a_connection_that_breaks_while_it_catches_up_begins_again_with_a_new_end() -> None:
    catch_up = CatchUp()
    catch_up.begin(is_needed=True)
    assert not catch_up.completed_by(50, 100)
    catch_up.begin(is_needed=True)
    assert not catch_up.completed_by(100, 150)
    assert catch_up.completed_by(150, 150)


def quiet(liveness: Liveness, since_ns: int, for_ns: int) -> int:
    for now_ns in range(since_ns, since_ns + for_ns, GAP_NS):
        liveness.checked(now_ns)
    return since_ns + for_ns


def test_a_broker_is_silent_when_it_was_asked_and_gives_no_sign_of_life() -> None:
    liveness = Liveness(0)
    now_ns = quiet(liveness, 0, 2 * SILENT_NS)
    assert not liveness.is_silent, "it was not asked"
    liveness.asked(now_ns)
    now_ns = quiet(liveness, now_ns, 2 * SILENT_NS)
    assert liveness.is_silent
    liveness.moved()
    assert not liveness.is_silent, "it takes orders"
    now_ns = quiet(liveness, now_ns, 2 * SILENT_NS)
    liveness.heard(now_ns)
    assert not liveness.is_silent
    assert liveness.heard_ns == now_ns
    liveness.answered(liveness.asked_ns)
    quiet(liveness, now_ns, 2 * SILENT_NS)
    assert not liveness.is_silent, "it has answered"


def test_the_answer_to_an_earlier_question_is_none_to_this_one() -> None:
    liveness = Liveness(0)
    liveness.asked(5)
    liveness.answered(4)
    assert liveness.is_asked


def test_what_a_broker_had_counted_before_its_restart_counts_on() -> None:
    counters = BrokerCounters()
    counters.take(m.Pong(0, 0, 0, {"duplicates": 3}, {"a: refused": 2}))
    counters.disregard_incidents()
    counters.begin_anew()
    assert (counters.pong, counters.duplicates, counters.incidents) == (None, 3, Counter())
    counters.take(m.Pong(0, 0, 0, {"duplicates": 1}, {"a: refused": 4}))
    assert (counters.duplicates, counters.incidents) == (4, Counter({"a: refused": 4}))


def test_a_broker_that_has_counted_less_than_before_is_another_one() -> None:
    counters = BrokerCounters()
    counters.take(m.Pong(0, 0, 0, {}, {"a: refused": 2}))
    counters.take(m.Pong(0, 0, 0, {}, {"b: refused": 1}))
    assert counters.incidents == Counter({"a: refused": 2, "b: refused": 1})
