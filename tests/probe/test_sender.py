"""Between a unit's journal and the broker: sending, acknowledgements, and whatever can happen to a connection."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import zmq

from probe import journal
from probe import message as m
from probe.connection import open_socket
from probe.environment import Environment
from probe.errors import BarrierBroken
from probe.units import Unit
from tests.support.small_broker import PATIENCE_S, SmallBroker


def journals(broker: SmallBroker) -> list[Path]:
    return list(journal.folders(broker.home / "journal"))


def test_hello_says_who_it_is(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    (hello,) = broker.heard(m.Hello)
    assert (hello.role, hello.run, hello.unit, hello.waiting) == ("unit", "run", "unit", ())
    assert hello.incarnation == unit.incarnation > 0
    assert hello.host
    assert hello.pid


def test_events_arrive_in_order_and_complete(broker: SmallBroker, unit: Unit) -> None:
    for number in range(5000):
        unit.emit("step", key=str(number), n=number)
    assert unit.close(PATIENCE_S)
    (records,) = broker.records.values()
    assert [record[0] for record in records] == list(range(1, 5001))
    assert [record[5]["n"] for record in records] == list(range(5000))
    assert all(earlier[1] <= later[1] for earlier, later in pairwise(records))


def test_close_says_final_and_deletes_the_journal(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    unit.emit("b")
    assert unit.close(PATIENCE_S)
    assert broker.heard(m.Final) == [m.Final(2)]
    assert journals(broker) == []


def test_the_next_event_after_close_begins_a_new_incarnation(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    unit.close(PATIENCE_S)
    unit.emit("b")
    unit.close(PATIENCE_S)
    first, second = broker.heard(m.Hello, 2)
    assert first.incarnation != second.incarnation
    assert broker.records[("unit", second.incarnation)][0][0] == 1


def test_without_acknowledgements_the_journal_stays(broker: SmallBroker, unit: Unit) -> None:
    broker.acks = False
    unit.emit("a")
    broker.heard(m.Events)
    assert not unit.close(0.05)
    assert len(journals(broker)) == 1


def test_a_broker_that_comes_late_gets_everything(broker: SmallBroker, unit: Unit) -> None:
    broker.vanish()
    for number in range(1000):
        unit.emit("early", n=number)
    broker.listen()
    unit.emit("late")
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["early"] * 1000 + ["late"]


def test_what_a_vanished_broker_had_not_acknowledged_is_sent_again(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("kept")
    broker.until(lambda: broker.steps() == ["kept"])
    broker.acks = False
    unit.emit("heard, not kept")
    broker.until(lambda: len(broker.steps()) == 2)
    broker.vanish()
    (records,) = broker.records.values()
    del records[1:]  # it was killed before it had written this
    broker.next_seq[("unit", unit.incarnation)] = 2
    unit.emit("said to none")
    broker.acks = True
    broker.listen()
    unit.emit("after")
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["kept", "heard, not kept", "said to none", "after"]


def test_a_final_that_a_vanished_broker_had_not_acknowledged_is_said_again(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    broker.heard(m.Events)
    broker.acks = False
    with ThreadPoolExecutor() as pool:
        closed = pool.submit(unit.close, PATIENCE_S)
        broker.heard(m.Final)
        broker.vanish()
        broker.acks = True
        broker.listen()
        assert closed.result()
    assert broker.heard(m.Final, 2) == [m.Final(1), m.Final(1)]


def test_no_more_than_the_credit_is_under_way(broker: SmallBroker, unit: Unit) -> None:
    broker.credit, broker.acks = 1, False
    unit.emit("first")
    broker.heard(m.Events)
    for _ in range(100):
        unit.emit("later")
    broker.order("unit", m.Sync())
    assert broker.steps() == ["first"]
    with broker._changed:
        broker.acks = True
    broker.vanish()  # the new connection brings what was held back
    broker.listen()
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["first"] + ["later"] * 100


def test_a_few_events_wait_for_each_other_while_some_are_under_way_and_sync_brings_them(
    broker: SmallBroker, unit: Unit
) -> None:
    broker.acks = False
    unit.emit("first")
    broker.heard(m.Events)
    for _ in range(10):
        unit.emit("few")
        broker.order("absent", m.Sync())
    broker.order("unit", m.Sync())
    _, few, watermark = broker.heard(m.Events, 3)
    assert (few.first, few.count) == (2, 10)
    assert (watermark.first, watermark.count) == (12, 0)


def test_an_acknowledgement_brings_the_few_events_that_waited_for_it(broker: SmallBroker, unit: Unit) -> None:
    for number in range(200):
        unit.emit("one", n=number)
        broker.until(lambda expected=number + 1: len(broker.steps()) == expected)


def test_sync_is_answered_by_a_fresh_watermark(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    (events,) = broker.heard(m.Events)
    broker.order("unit", m.Sync())
    _, answer = broker.heard(m.Events, 2)
    assert (answer.first, answer.count) == (2, 0)
    assert answer.watermark_ns > events.watermark_ns >= broker.all_records()[0][1]


def test_a_watermark_never_runs_ahead_of_the_events(broker: SmallBroker, unit: Unit) -> None:
    for number in range(30_000):
        unit.emit("step", n=number, text="x" * 50)
        if number % 10_000 == 0:
            broker.order("unit", m.Sync())
    assert unit.close(PATIENCE_S)
    stamps = [record[1] for record in broker.all_records()]
    for events in broker.heard(m.Events):
        upto = events.first + events.count - 1
        assert all(stamp > events.watermark_ns for stamp in stamps[upto : upto + 1])


def test_a_refused_unit_complains_once_and_goes_on(
    broker: SmallBroker, unit: Unit, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.refuses = "this broker is for run 'other'"
    unit.emit("a")
    broker.heard(m.Hello)
    while not unit.refused:
        unit.emit("b")
    for _ in range(1000):
        unit.emit("c")
    assert not unit.close(PATIENCE_S)
    assert capsys.readouterr().err.count("this broker is for run 'other'") == 1
    assert journals(broker) == []


def test_a_refused_unit_of_a_supervised_run_leaves_its_journal_to_who_finds_it(broker: SmallBroker) -> None:
    """It is evidence that was lost, and that has to be known."""
    broker.refuses = "unit 'unit' has had too many incarnations"
    unit = Unit("unit", environment=replace(broker.environment(), marks="somewhere"))
    unit.emit("a")
    assert not unit.close(PATIENCE_S)
    (path,) = journals(broker)
    journal.Folder(path).close()


def test_a_stranger_says_hello_again(broker: SmallBroker, unit: Unit) -> None:
    unit.emit("a")
    broker.until(lambda: broker.steps() == ["a"])
    with broker._changed:
        answers, broker._answers = broker._answers, lambda *_: iter([m.Error("who?", stranger=True)])  # type: ignore[method-assign]
    unit.emit("b")
    broker.heard(m.Events, 2)
    with broker._changed:
        broker._answers = answers  # type: ignore[method-assign]
    broker.heard(m.Hello, 2)
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["a", "b"]


def test_an_address_that_makes_no_sense_hurts_no_one_else(
    broker: SmallBroker, unit: Unit, capsys: pytest.CaptureFixture[str]
) -> None:
    unit.emit("a")
    settings = Environment("nonsense://somewhere", "run", "lost", str(broker.home / "journal"), "", disabled=False)
    lost = Unit("lost", environment=settings)
    lost.emit("a")
    with pytest.raises(BarrierBroken, match="cannot send to its broker"):
        lost.barrier("go")
    lost.emit("b")
    assert not lost.close(PATIENCE_S)
    unit.emit("b")
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["a", "b"]
    assert "unit 'lost' cannot send to 'nonsense://somewhere'" in capsys.readouterr().err


def test_several_units_share_one_thread(broker: SmallBroker) -> None:
    units = [Unit(f"unit-{number}", environment=broker.environment()) for number in range(5)]
    for each in units:
        each.emit("a")
    assert len({each._link._sender for each in units}) == 1
    assert all(each.close(PATIENCE_S) for each in units)
    assert {who for who, _ in broker.records} == {f"unit-{number}" for number in range(5)}


def test_an_agent_gets_the_orders_that_answer_nothing(broker: SmallBroker) -> None:
    orders, came = [], threading.Event()

    def take(order: m.Order) -> None:
        orders.append(order)
        came.set()
        raise RuntimeError("an agent that fails must not take the sender with it")

    agent = Unit("@local", environment=broker.environment(), on_order=take)
    agent.state("here")
    (hello,) = broker.heard(m.Hello)
    assert hello.role == "agent"
    broker.order("@local", m.Stop("worker", 100))
    assert came.wait(PATIENCE_S)
    assert orders == [m.Stop("worker", 100)]
    assert agent.close(PATIENCE_S)


def test_a_full_journal_loses_exactly_what_it_says(
    broker: SmallBroker, unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "FIRST_SEGMENT_BYTES", 16 * 1024)
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 16 * 1024)
    monkeypatch.setattr(journal, "bound", lambda _: 64 * 1024)
    broker.vanish()
    for number in range(5000):
        unit.emit("step", n=number)
    broker.listen()
    while "after" not in broker.steps():  # there is room again as soon as the first acknowledgement has come
        unit.emit("after")
    assert unit.close(PATIENCE_S)
    (final,) = broker.heard(m.Final)
    kept = {record[0] for record in broker.all_records()}
    lost = {seq for _, gap in broker.lost for seq in range(gap.first, gap.last + 1)}
    assert kept & lost == set()
    assert kept | lost == set(range(1, final.last + 1))
    assert set(range(1, 1000)) < kept
    assert 5000 in lost


def test_a_journal_that_cannot_be_made_is_kept_in_memory_and_said_so(
    broker: SmallBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    (broker.home / "journal").write_text("a file is in the way")
    unit = Unit("unit", environment=broker.environment())
    unit.emit("a")
    unit.emit("b")
    assert unit.close(PATIENCE_S)
    assert broker.steps() == ["a", "b"]
    assert "in memory only" in capsys.readouterr().err


def test_sockets_have_no_heartbeats_of_zeromq_whose_timer_can_abort_the_process() -> None:
    with zmq.Context() as context, open_socket(context) as socket:
        assert (socket.heartbeat_ivl, socket.tcp_keepalive) == (0, 1)


def test_a_connection_that_is_not_answered_is_given_up_long_before_a_lease_is_over() -> None:
    with zmq.Context() as context, open_socket(context) as socket:
        assert socket.tcp_maxrt + socket.connect_timeout <= 7000
