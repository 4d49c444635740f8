"""A unit that measures the clock of its host: when it asks, what it reports, and that others do neither."""

import threading
import time
from itertools import pairwise

import pytest

from probe import clock_pings
from probe import message as m
from probe.units import Unit
from probe.wire import Record
from tests.support.small_broker import PATIENCE_S, SmallBroker, pong


def reports(broker: SmallBroker) -> list[Record]:
    return [record for record in broker.all_records() if record[2] == "clock"]


def wait_for_reports(broker: SmallBroker, count: int) -> list[Record]:
    found: list[Record] = broker.until(lambda: len(said := reports(broker)) >= count and said)
    return found


def test_a_unit_that_is_asked_to_measure_reports_where_the_broker_s_clock_is(broker: SmallBroker, unit: Unit) -> None:
    broker.measure = True
    unit.emit("a")
    first, *_ = wait_for_reports(broker, 3)
    data = first[5]
    assert 0 < data["rtt_ns"] < 1e9
    lows, highs = ([bound for _, bound in data[which]] for which in ("low", "high"))
    assert lows
    assert max(lows) <= 0 <= min(highs)  # it is the same clock
    assert first[3] == 7


class Time:
    """What `probe.clock_pings` takes for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(clock_pings, "monotonic", self.monotonic)
        monkeypatch.setattr(clock_pings, "monotonic_ns", self.monotonic_ns)

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9) + 5_000_000_000  # a shim may shift the one and not the other


def test_it_asks_five_times_at_once_and_reports_and_then_goes_on_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    said: list[tuple[float, dict[str, object]]] = []
    asked: list[tuple[float, m.Message]] = []
    measures = clock_pings.ClockPings(lambda report: said.append((round(clock.now_s, 3), report)))

    def send(message: m.Message) -> bool:
        asked.append((round(clock.now_s, 3), message))
        return True

    measures.begin()
    for _ in range(1000):  # one millisecond each; every question is answered within it
        known = len(asked)
        measures.turn(send)
        clock.now_s += 0.001
        for _, ping in asked[known:]:
            assert isinstance(ping, m.Ping)
            measures.answered(m.Pong(ping.sent_ns, 7, 7, {}), clock.monotonic_ns())
    assert [at for at, _ in asked[:7]] == [100.0, 100.001, 100.002, 100.003, 100.004, 100.054, 100.104]
    assert [at for at, _ in said] == [100.005, 100.255, 100.505, 100.755]
    assert all(report["low"] for _, report in said)
    assert clock.now_s < measures.due_s < clock.now_s + 0.05


def test_a_broker_that_stands_still_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch)
    asked: list[m.Message] = []

    def send(message: m.Message) -> bool:
        asked.append(message)
        return True

    measures = clock_pings.ClockPings(lambda _: None)
    measures.begin()
    for _ in range(100):
        clock.now_s += 0.1
        measures.turn(send)
    assert len(asked) == clock_pings.MAX_UNANSWERED
    measures.answered(m.Pong(1, 2, 3, {}), 4)
    clock.now_s += 0.1
    measures.turn(send)
    assert len(asked) == clock_pings.MAX_UNANSWERED + 1


def test_a_unit_that_is_not_asked_to_measure_neither_asks_nor_reports(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    broker.heard(m.Events)
    assert unit._link._clock._pings is None
    assert unit._link.timer_s is None
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["a"]
    assert not any(isinstance(said, m.Ping) for said in broker.said)


def test_a_unit_that_wants_the_answers_gets_each_of_them_and_measures_too(broker: SmallBroker) -> None:
    taken: list[m.Pong] = []
    given: list[m.Pong] = []

    def answer(ping: m.Ping) -> list[m.Pong]:
        given.extend(pong(ping))
        return given[-1:]

    broker.answer_pings = answer
    agent = Unit("@lab-2", environment=broker.environment(), on_order=lambda _: None, on_pong=taken.append)
    agent.state("serving")
    wait_for_reports(broker, 3)
    assert agent.close(PATIENCE_S)
    assert taken == given[: len(taken)]
    assert len(taken) >= 6
    assert taken[0].counters == {"runners": 1}


def test_reports_go_on_while_the_broker_is_away_and_are_empty(broker: SmallBroker) -> None:
    said = threading.Semaphore(0)

    class Agent(Unit):
        def state(self, step: str, /, key: object = None, **data: object) -> None:
            super().state(step, key, **data)
            said.release()

    agent = Agent("@lab-2", environment=broker.environment(), on_order=lambda _: None, on_pong=lambda _: None)
    agent.state("serving")
    wait_for_reports(broker, 2)
    broker.vanish()
    seq = agent.last_seq
    while agent.last_seq < seq + 4:
        assert said.acquire(timeout=PATIENCE_S)
    broker.listen()
    broker.heard(m.Hello, 2)
    found = wait_for_reports(broker, seq + 5)
    assert agent.close(PATIENCE_S)
    away = [record[5] for record in found if seq + 1 < record[0] <= seq + 4]
    assert away == [{"low": [], "high": []}] * 3
    assert reports(broker)[-2][5]["low"]  # it has gone on


def test_nothing_is_reported_about_a_moment_before_the_report_before(broker: SmallBroker, unit: Unit) -> None:
    broker.measure = True
    held: list[m.Pong] = []

    def late(ping: m.Ping) -> list[m.Pong]:
        """Answers come by the dozen, so that many are about a question from before the last report."""
        held.extend(pong(ping))
        if len(held) % 12 and len(held) > 5:
            return []
        answers, held[:] = held[:], []
        return answers if answers else []

    broker.answer_pings = late
    unit.emit("a")
    found = wait_for_reports(broker, 8)
    assert any(record[5]["low"] for record in found[2:])
    for earlier, later in pairwise(found):
        for moment, _ in [*later[5]["low"], *later[5]["high"]]:
            assert earlier[1] < moment <= later[1]


def test_a_unit_that_closes_reports_what_it_knows(broker: SmallBroker, unit: Unit) -> None:
    broker.measure = True
    broker.answer_pings = lambda ping: pong(ping) if broker.count(m.Ping) < 3 else []
    unit.emit("a")
    broker.heard(m.Ping, 4)
    unit.emit("b")
    assert unit.close(PATIENCE_S)
    assert broker.steps()[-1] == "clock"
    assert any("rtt_ns" in record[5] for record in reports(broker))


def test_a_unit_that_is_closed_at_once_is_measured_all_the_same(broker: SmallBroker, unit: Unit) -> None:
    broker.measure = True
    unit.emit("a")
    assert unit.close(PATIENCE_S)
    assert broker.steps()[0] == "a"
    assert reports(broker)[0][5]["low"]
    assert reports(broker)[0][5]["high"]


def test_a_unit_whose_broker_is_away_is_closed_in_time(broker: SmallBroker, unit: Unit) -> None:
    broker.vanish()
    unit.emit("a")
    before = time.monotonic()
    assert not unit.close(0.05)
    assert time.monotonic() - before < PATIENCE_S / 2


def test_a_refused_unit_measures_nothing(broker: SmallBroker) -> None:
    broker.refuses = "unknown run"
    agent = Unit("@lab-2", environment=broker.environment(), on_order=lambda _: None, on_pong=lambda _: None)
    agent.state("serving")
    link = agent._link
    assert not agent.close(PATIENCE_S)
    assert link.done.is_open
    assert agent.refused
    assert not any(isinstance(said, m.Ping) for said in broker.said)
