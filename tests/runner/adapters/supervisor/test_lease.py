"""How long a supervisor elsewhere goes on without a runner, on a clock that moves by hand."""

import pytest

from probe.message import Pong
from runner.adapters.supervisor import lease as module
from runner.adapters.supervisor.lease import RUNNERLESS_S, Lease


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock.monotonic)
    return clock


def pong(runners: int | None) -> Pong:
    return Pong(0, 0, 0, {} if runners is None else {"runners": runners})


def test_it_lasts_its_time_from_the_beginning_and_no_longer(clock: Clock) -> None:
    lease = Lease(15.0)
    assert lease.left_s == 15.0
    clock.now_s += 14
    assert lease.left_s == 1.0
    clock.now_s += 2
    assert lease.left_s == 0.0


def test_each_answer_that_knows_a_runner_renews_it(clock: Clock) -> None:
    lease = Lease(15.0)
    for _ in range(10):
        clock.now_s += 10
        lease.heard(pong(2))
        assert lease.left_s == 15.0


@pytest.mark.parametrize("runners", [0, None])
def test_a_broker_that_knows_no_runner_ends_it_soon_however_often_it_says_so(clock: Clock, runners: int | None) -> None:
    lease = Lease(15.0)
    clock.now_s += 1
    lease.heard(pong(runners))
    for left in (RUNNERLESS_S, RUNNERLESS_S - 1, RUNNERLESS_S - 2, 0.0):
        assert lease.left_s == left
        clock.now_s += 1
        lease.heard(pong(runners))


def test_a_runner_that_is_back_in_time_renews_it_and_its_next_absence_has_its_own_time(clock: Clock) -> None:
    lease = Lease(15.0)
    lease.heard(pong(0))
    clock.now_s += 2
    lease.heard(pong(1))
    assert lease.left_s == 15.0
    clock.now_s += 5
    lease.heard(pong(0))
    assert lease.left_s == RUNNERLESS_S


def test_the_absence_of_a_runner_never_makes_it_longer(clock: Clock) -> None:
    lease = Lease(15.0)
    clock.now_s += 14
    lease.heard(pong(0))
    assert lease.left_s == 1.0
    short = Lease(0.5)
    short.heard(pong(0))
    assert short.left_s == 0.5
