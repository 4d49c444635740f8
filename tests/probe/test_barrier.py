"""Calls that block: released by an order, broken by name, and never for longer than the caller allows."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from probe import message as m
from probe import quiet_period
from probe.barrier import PASSED, await_start
from probe.environment import Environment
from probe.errors import BarrierBroken, BarrierTimeout, WaitBroken, WaitTimeout
from probe.event import Kind
from probe.units import Unit
from tests.support.small_broker import PATIENCE_S, SmallBroker


@pytest.fixture
def apart() -> Iterator[Callable[..., "Future[Any]"]]:
    """Calls something in another thread."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def asked(broker: SmallBroker, count: int = 1) -> dict[str, Any]:
    """The data of the newest event that asks something, of at least `count`."""

    def find() -> Any:
        asks = [record for record in broker.all_records() if record[3] in (Kind.ARRIVE, Kind.WAIT)]
        return asks[-1] if len(asks) >= count else None

    record = broker.until(find)
    return {"step": record[2], "kind": record[3], "key": record[4], **record[5]}


def test_barrier_returns_when_it_is_released(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go", timeout=9, parties=["a", "b"])
    ask = asked(broker)
    assert ask == {
        "step": "go",
        "kind": Kind.ARRIVE,
        "key": None,
        "ask": "barrier/go/1",
        "round": 1,
        "parties": ["a", "b"],
        "timeout_s": 9.0,
    }
    broker.order("unit", m.Release("barrier/other/1"))
    broker.order("unit", m.Release("barrier/go/1"))
    assert passed.result(PATIENCE_S) is None


def test_each_arrival_is_a_round_of_its_own(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    for number in (1, 2):
        passed = apart(unit.barrier, "go")
        assert asked(broker, number) == {
            "step": "go",
            "kind": Kind.ARRIVE,
            "key": None,
            "ask": f"barrier/go/{number}",
            "round": number,
        }
        broker.order("unit", m.Release(f"barrier/go/{number}"))
        passed.result(PATIENCE_S)


def test_a_broken_barrier_names_who_is_to_blame(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Break("barrier/go/1", ("worker",), "exited with code 1"))
    with pytest.raises(BarrierBroken, match="'go' is broken: worker exited with code 1") as caught:
        passed.result(PATIENCE_S)
    assert not isinstance(caught.value, BarrierTimeout)
    assert caught.value.who == ("worker",)


def test_a_late_barrier_names_who_is_missing(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go", timeout=9)
    asked(broker)
    broker.order("unit", m.Break("barrier/go/1", ("worker",), "did not arrive within 9 s", timeout=True))
    with pytest.raises(BarrierTimeout, match="worker did not arrive"):
        passed.result(PATIENCE_S)


def test_without_any_answer_the_unit_gives_up_by_itself(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["probe.barrier"], "ANSWER_GRACE_S", 0.01)
    with pytest.raises(BarrierTimeout, match=r"the run gave no answer within 0\.01 s"):
        unit.barrier("go", timeout=0.01)
    with pytest.raises(WaitTimeout, match="'a: b' with key 'k' did not fire within"):
        unit.wait("a: b", key="k", timeout=0.01)


def test_wait_gives_the_event(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    event = apart(unit.wait, "worker: row-written", key="17", timeout=9)
    ask = asked(broker)
    assert ask.pop("ask").startswith("wait/")
    assert ask == {
        "step": "wait",
        "kind": Kind.WAIT,
        "key": "17",
        "unit": "worker",
        "timeout_s": 9.0,
    } | {"step": "row-written"}
    broker.order(
        "unit",
        m.Release(broker.all_records()[-1][5]["ask"], "worker", "row-written", "17", 123, data={"ok": True}),
    )
    found = event.result(PATIENCE_S)
    assert (found.unit, found.step, found.key, found.stamp_ns, found.data) == (
        "worker",
        "row-written",
        "17",
        123,
        {"ok": True},
    )


def test_a_wait_for_a_dead_unit_is_broken(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    event = apart(unit.wait, "worker: row-written")
    broker.order("unit", m.Break(asked(broker)["ask"], ("worker",), "exited with code 1"))
    with pytest.raises(WaitBroken, match="will not fire: worker exited with code 1"):
        event.result(PATIENCE_S)


def test_wait_wants_to_know_which_unit(unit: Unit) -> None:
    with pytest.raises(ValueError, match='"unit: step"'):
        unit.wait("row-written")


def test_the_async_twins_leave_the_loop_free(broker: SmallBroker, unit: Unit) -> None:
    async def main() -> list[str]:
        done = []

        async def pass_it() -> None:
            await unit.barrier_async("go")
            found = await unit.wait_async("worker: b")
            done.append(found.step if found else "")

        async def let_it_through() -> None:
            await asyncio.to_thread(asked, broker)
            broker.order("unit", m.Release("barrier/go/1"))
            ask = (await asyncio.to_thread(asked, broker, 2))["ask"]
            broker.order("unit", m.Release(ask, "worker", "b"))

        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(pass_it(), let_it_through())
        return done

    assert asyncio.run(main()) == ["b"]


AHEAD_NS = 50_000_000


def passed_at(broker: SmallBroker) -> int | None:
    """When the unit went on, as it says; None: it has not said so."""
    found = [record for record in broker.all_records() if record[2] == PASSED]
    assert all(record[3:5] == [Kind.STATE, "go"] and record[5]["ask"] == "barrier/go/1" for record in found)
    return found[0][5]["went_ns"] if found else None


def test_a_release_may_name_its_moment(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    at_ns = time.monotonic_ns() + AHEAD_NS
    broker.order("unit", m.Release("barrier/go/1", at_ns=at_ns))
    passed.result(PATIENCE_S)
    on_ns = time.monotonic_ns()
    assert on_ns >= at_ns
    unit.emit("on")
    went_ns = broker.until(lambda: passed_at(broker))
    assert at_ns <= went_ns <= on_ns


def test_a_moment_that_is_over_is_now(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1", at_ns=time.monotonic_ns() - AHEAD_NS))
    passed.result(PATIENCE_S)


def test_that_it_went_on_is_said_though_the_unit_says_nothing_more(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1", at_ns=time.monotonic_ns() + AHEAD_NS))
    passed.result(PATIENCE_S)
    assert passed_at(broker) is None, "it must not keep others from going on"
    assert broker.until(lambda: passed_at(broker))


def test_in_the_quiet_period_after_the_moment_nothing_wakes_the_sender_but_what_asks(
    broker: SmallBroker, unit: Unit, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_period, "QUIET_S", PATIENCE_S)
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1", at_ns=time.monotonic_ns() + AHEAD_NS))
    passed.result(PATIENCE_S)
    unit.emit("on")
    threading.Event().wait(0.1)  # that nothing comes cannot be waited for
    assert all(record[2] != "on" for record in broker.all_records())
    passed = apart(unit.barrier, "next")
    assert asked(broker, 2)["ask"] == "barrier/next/1"
    assert passed_at(broker)
    broker.order("unit", m.Release("barrier/next/1"))
    passed.result(PATIENCE_S)


def test_who_goes_on_late_is_heard_all_the_same(
    broker: SmallBroker, unit: Unit, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_period, "QUIET_S", 0.0)
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1", at_ns=time.monotonic_ns() - AHEAD_NS))
    passed.result(PATIENCE_S)
    assert broker.until(lambda: passed_at(broker))


def test_that_it_went_on_is_said_before_the_last_word(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1", at_ns=time.monotonic_ns() + AHEAD_NS))
    passed.result(PATIENCE_S)
    assert unit.close(PATIENCE_S)
    assert passed_at(broker)


def test_the_async_twin_leaves_the_loop_free_until_just_before_its_moment(broker: SmallBroker, unit: Unit) -> None:
    async def main() -> tuple[int, int]:
        turns = 0

        async def pass_it() -> int:
            await unit.barrier_async("go")
            return time.monotonic_ns()

        async def let_it_through() -> int:
            await asyncio.to_thread(asked, broker)
            at_ns = time.monotonic_ns() + AHEAD_NS
            broker.order("unit", m.Release("barrier/go/1", at_ns=at_ns))
            return at_ns

        async with asyncio.timeout(PATIENCE_S):
            passing = asyncio.create_task(pass_it())
            at_ns = await let_it_through()
            while not passing.done():
                turns += 1
                await asyncio.sleep(0.001)
        return (await passing) - at_ns, turns

    late_ns, turns = asyncio.run(main())
    assert late_ns >= 0
    assert turns > 5
    assert broker.until(lambda: passed_at(broker))


def test_a_cancelled_task_leaves_no_ask_behind(broker: SmallBroker, unit: Unit) -> None:
    async def main() -> None:
        task = asyncio.create_task(unit.barrier_async("go"))
        await asyncio.to_thread(asked, broker)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert unit.waiting == {}


def test_hello_repeats_what_is_still_asked(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    broker.vanish()
    broker.listen()
    *_, hello = broker.heard(m.Hello, 2)
    assert hello.waiting == ("barrier/go/1",)
    broker.order("unit", m.Release("barrier/go/1"))
    passed.result(PATIENCE_S)


def test_what_does_not_fit_into_a_hello_is_asked_again_all_the_same(broker: SmallBroker, unit: Unit) -> None:
    count = 2000

    async def main() -> None:
        tasks = [asyncio.create_task(unit.wait_async("b: done", key=f"{'k' * 20}-{n}")) for n in range(count)]
        await asyncio.to_thread(asked, broker, count)
        broker.vanish()
        broker.listen()
        await asyncio.to_thread(asked, broker, 2 * count)  # the HELLO alone would be larger than a HELLO may be
        asks = [record[5]["ask"] for record in broker.all_records()]
        assert Counter(asks) == dict.fromkeys(asks, 2)
        for ask in set(asks):
            broker.order("unit", m.Release(ask, "b", "done"))
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)

    asyncio.run(main())
    *_, hello = broker.heard(m.Hello, 2)
    assert 0 < len(hello.waiting) < count
    assert hello.waiting[0].endswith(".1"), "the oldest first"


def test_who_asks_too_much_at_once_hears_so_at_once(
    broker: SmallBroker, unit: Unit, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("probe.barrier"), "MOST_ASKS", 1)
    first = apart(unit.wait, "b: done")
    ask = asked(broker)["ask"]
    with pytest.raises(WaitBroken, match=r"unit waits for 16,384 answers already, and no more are kept"):
        unit.wait("b: done")
    broker.order("unit", m.Release(ask, "b", "done"))
    assert first.result(PATIENCE_S).step == "done"


def test_a_refused_unit_does_not_block(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    broker.refuses = "wrong version"
    with pytest.raises(BarrierBroken, match="refused by the broker: wrong version"):
        apart(unit.barrier, "go").result(PATIENCE_S)


def test_closing_the_unit_breaks_what_it_asked(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    passed = apart(unit.barrier, "go")
    asked(broker)
    unit.close(PATIENCE_S)
    with pytest.raises(BarrierBroken, match="closed"):
        passed.result(PATIENCE_S)


def test_ctrl_c_ends_a_barrier_in_the_main_thread(broker: SmallBroker, unit: Unit) -> None:
    def interrupt() -> None:
        asked(broker)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        unit.barrier("go")
    thread.join()


def test_the_start_gate_is_an_ask_like_the_others(broker: SmallBroker, unit: Unit, apart: Any) -> None:
    started = apart(await_start, unit)
    assert asked(broker) == {"step": "start", "kind": Kind.ARRIVE, "key": None, "ask": "start"}
    broker.order("unit", m.Release("start"))
    started.result(PATIENCE_S)


def test_without_a_broker_nothing_blocks() -> None:
    unit = Unit("unit", environment=Environment("", "", "unit", "", "", disabled=False))
    unit.barrier("go")
    await_start(unit)
    assert unit.wait("worker: b") is None
    asyncio.run(unit.barrier_async("go"))
    assert asyncio.run(unit.wait_async("worker: b")) is None


# --- a release that names its moment ---


def passed(broker: SmallBroker) -> dict[str, Any]:
    """What the unit says when it goes on."""
    record = broker.until(lambda: next((r for r in broker.all_records() if r[2] == "passed"), None))
    assert (record[3], record[4]) == (Kind.STATE, "go")
    return dict(record[5])


def goes_on(unit: Unit, twin: str) -> int:
    """The moment at which a call of the barrier returns."""
    if twin == "thread":
        unit.barrier("go")
    else:
        asyncio.run(unit.barrier_async("go"))
    return time.monotonic_ns()


@pytest.mark.parametrize("twin", ["thread", "asyncio"])
def test_no_unit_goes_on_before_the_moment_that_the_release_names_and_each_says_when_it_did(
    broker: SmallBroker, unit: Unit, apart: Any, twin: str
) -> None:
    went = apart(goes_on, unit, twin)
    asked(broker)
    at_ns = time.monotonic_ns() + 100_000_000
    broker.order("unit", m.Release("barrier/go/1", at_ns=at_ns))
    said = passed(broker)
    assert said["ask"] == "barrier/go/1"
    assert at_ns <= said["went_ns"] <= went.result(PATIENCE_S)


@pytest.mark.parametrize("twin", ["thread", "asyncio"])
def test_a_moment_that_is_over_is_not_waited_for_and_is_said_as_it_was(
    broker: SmallBroker, unit: Unit, apart: Any, twin: str
) -> None:
    went = apart(goes_on, unit, twin)
    asked(broker)
    before = time.monotonic_ns()
    broker.order("unit", m.Release("barrier/go/1", at_ns=1))
    assert before <= passed(broker)["went_ns"] <= went.result(PATIENCE_S)


@pytest.mark.parametrize("twin", ["thread", "asyncio"])
def test_a_release_without_a_moment_and_a_break_say_nothing_of_the_kind(
    broker: SmallBroker, unit: Unit, apart: Any, twin: str
) -> None:
    went = apart(goes_on, unit, twin)
    asked(broker)
    broker.order("unit", m.Release("barrier/go/1"))
    went.result(PATIENCE_S)
    went = apart(goes_on, unit, twin)
    asked(broker, 2)
    broker.order("unit", m.Break("barrier/go/2", ("worker",), "exited with code 1"))
    with pytest.raises(BarrierBroken):
        went.result(PATIENCE_S)
    unit.emit("after")
    broker.until(lambda: "after" in broker.steps())
    assert "passed" not in broker.steps()


def test_the_other_tasks_of_a_loop_go_on_while_one_waits_for_its_moment(broker: SmallBroker, unit: Unit) -> None:
    async def main() -> tuple[int, int]:
        task = asyncio.create_task(unit.barrier_async("go"))
        await asyncio.to_thread(asked, broker)
        at_ns = time.monotonic_ns() + 100_000_000
        broker.order("unit", m.Release("barrier/go/1", at_ns=at_ns))
        while unit.waiting:  # until the release is there
            await asyncio.sleep(0)
        free_ns = time.monotonic_ns()
        await task
        return free_ns, at_ns

    free_ns, at_ns = asyncio.run(main())
    assert free_ns < at_ns
