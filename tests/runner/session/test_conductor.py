"""The conductor: a prescribed order of checkpoints, and what is said where it cannot happen."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

import probe
import runner
from probe import gate
from runner import Conductor, OrderError, ProcessStarter, TaskStarter, ThreadStarter
from runner.adapters.actors.starter import Starter
from tests.support.scenarios import poll

Make = Callable[..., Starter]


class TwoPhaseMachine:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def first_phase(self) -> None:
        self.steps.append(1)

    def second_phase(self) -> None:
        self.steps.append(2)

    def __call__(self) -> None:
        self.first_phase()
        self.second_phase()


def test_the_first_thread_finishes_and_then_the_second_starts() -> None:
    first_machine = TwoPhaseMachine()
    second_machine = TwoPhaseMachine()

    first_starter = ThreadStarter(first_machine)
    cp1 = first_starter.add_checkpoint_after(first_machine.second_phase)

    second_starter = ThreadStarter(second_machine)
    cp2 = second_starter.add_checkpoint_before(second_machine.second_phase)
    cp3 = second_starter.add_checkpoint_after(second_machine.second_phase)

    with Conductor([first_starter, second_starter], [cp1, cp2, cp3]) as conductor:
        assert next(conductor) is cp1
        assert first_machine.steps == [1, 2]
        assert second_machine.steps == []
        assert next(conductor) is cp2
        assert second_machine.steps == [1]
        assert next(conductor) is cp3
        assert second_machine.steps == [1, 2]
    assert "second_phase" not in vars(first_machine)


class Account:
    """A balance in a file, read and written without a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_text("100")

    @property
    def balance(self) -> int:
        return int(self.path.read_text())

    def withdraw(self, amount: int) -> int:
        balance = int(self.path.read_text())
        probe.checkpoint("read", reads="account")
        self.path.write_text(str(balance - amount))
        probe.checkpoint("written", touches="account")
        return balance - amount

    async def withdraw_later(self, amount: int) -> int:
        balance = int(self.path.read_text())
        await probe.checkpoint_async("read", reads="account")
        self.path.write_text(str(balance - amount))
        await probe.checkpoint_async("written", touches="account")
        return balance - amount


KINDS = [ThreadStarter, TaskStarter, ProcessStarter]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def two(kind: Make, account: Account) -> list[Starter]:
    target = account.withdraw_later if kind is TaskStarter else account.withdraw
    return [kind(target, 10, name="a"), kind(target, 20, name="b")]


@kinds
@pytest.mark.parametrize("order", sorted(set(permutations("aabb"))), ids="".join)
def test_every_order_of_two_actors_happens_as_it_is_prescribed(
    kind: Make, order: tuple[str, ...], tmp_path: Path
) -> None:
    account = Account(tmp_path / "balance")
    steps = [f"{name}: {('read', 'written')[order[:i].count(name)]}" for i, name in enumerate(order)]
    model = {"account": 100}
    amounts = {"a": 10, "b": 20}
    with Conductor(two(kind, account), steps) as conductor:
        for checkpoint in conductor:
            if checkpoint.step == "read":
                model[checkpoint.actor] = model["account"]
            else:
                model["account"] = model[checkpoint.actor] - amounts[checkpoint.actor]
            assert account.balance == model["account"]
    assert account.balance == model["account"]


@kinds
def test_results_come_back_and_errors_are_raised_at_the_end(kind: Make, tmp_path: Path) -> None:
    account = Account(tmp_path / "balance")
    first, second = two(kind, account)
    with Conductor([first, second], ["a: read", "b: read"]) as conductor:
        assert [str(checkpoint) for checkpoint in conductor] == ["a: read", "b: read"]
        conductor.run_to_end()
        assert (first.result, second.result) == (90, 80)
    account.path.write_text("no number")
    with pytest.raises(ValueError, match="no number"), Conductor(two(kind, account), []) as conductor:
        conductor.run_to_end()


@kinds
def test_nothing_is_held_when_the_block_is_left_by_an_error(kind: Make, tmp_path: Path) -> None:
    account = Account(tmp_path / "balance")
    actors = two(kind, account)
    with suppress(KeyError), Conductor(actors, ["a: read", "b: read", "a: written", "b: written"]) as conductor:
        next(conductor)
        next(conductor)
        raise KeyError("the test's own")
    assert [actor.has_ended for actor in actors] == [True, True]
    probe.checkpoint("not in the order")  # or it would not come back


def test_run_to_skips_what_is_before(tmp_path: Path) -> None:
    account = Account(tmp_path / "balance")
    with Conductor(two(ThreadStarter, account), ["a: read", "b: read", "a: written", "b: written"]) as conductor:
        assert str(conductor.run_to("a: written")) == "a: written"
        assert account.balance == 90
        with pytest.raises(OrderError, match='"a: read" is not to come any more'):
            conductor.run_to("a: read")
        conductor.run_to_end()
    assert account.balance == 80


def test_members_of_a_group_come_in_any_order(tmp_path: Path) -> None:
    account = Account(tmp_path / "balance")
    with Conductor(two(ThreadStarter, account), [["a: read", "b: read"], "b: written", "a: written"]) as conductor:
        assert [str(checkpoint) for checkpoint in conductor] == ["a: read", "b: read", "b: written", "a: written"]
    assert account.balance == 90


def test_in_a_group_the_one_that_must_wait_for_a_lock_comes_second() -> None:
    lock = threading.Lock()

    def work() -> None:
        with lock:
            probe.checkpoint("inside")

    def hold() -> None:
        with lock:
            probe.checkpoint("has lock")
        probe.checkpoint("let go")

    actors = [ThreadStarter(hold, name="a"), ThreadStarter(work, name="b")]
    with Conductor(actors, ["a: has lock", ["b: inside", "a: let go"]]) as conductor:
        assert [str(checkpoint) for checkpoint in conductor] == ["a: has lock", "a: let go", "b: inside"]


def test_an_order_that_a_lock_forbids_is_reported_with_where_each_actor_waits() -> None:
    lock = threading.Lock()

    def work() -> None:
        with lock:
            probe.checkpoint("inside")

    actors = [ThreadStarter(work, name="a"), ThreadStarter(work, name="b")]
    with pytest.raises(OrderError) as error, Conductor(actors, ["a: inside", "b: inside"], timeout_s=60) as conductor:
        list(conductor)
    said = str(error.value)
    assert said.startswith('the order cannot happen\n  due is "b: inside", after 1 checkpoint of 2\n')
    assert '  a is held at "inside"\n  b waits for a lock\n' in said
    assert "in work: with lock:" in said


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["a: written", "a: read"], 'a has come to "read", which is due later'),
        (["a: reed"], 'a came to its end without coming to "reed"; did you mean "read"?'),
        (["a: read", "a: read"], 'a came to its end without coming to "read"'),
    ],
)
def test_an_order_that_the_code_does_not_take_is_reported(order: list[str], said: str, tmp_path: Path) -> None:
    account = Account(tmp_path / "balance")
    with (
        pytest.raises(OrderError, match="the order cannot happen") as error,
        Conductor(two(ThreadStarter, account), order) as conductor,
    ):
        list(conductor)
    assert said in str(error.value)


def test_an_actor_that_does_not_come_is_reported_within_the_timeout_with_where_it_is() -> None:
    release = threading.Event()

    def sleep() -> None:
        import time

        while not release.is_set():
            time.sleep(0.01)

    with Conductor([ThreadStarter(sleep, name="a")], ["a: never"], timeout_s=0.3) as conductor:
        with pytest.raises(OrderError, match="no checkpoint was reached within 0\\.3 s") as error:
            next(conductor)
        release.set()
    assert "  a runs\n" in str(error.value)
    assert "in sleep" in str(error.value)


def test_a_synchronous_checkpoint_in_a_task_is_reported_as_what_stops_the_loop() -> None:
    async def stop() -> None:
        probe.checkpoint("here")

    actors = [TaskStarter(stop, name="a"), TaskStarter(stop, name="b")]
    with (
        pytest.raises(OrderError, match="its event loop stands still"),
        Conductor(actors, ["a: here", "b: here"], timeout_s=0.5) as conductor,
    ):
        list(conductor)


def module_function(log: list[str]) -> None:
    log.append("called")


async def module_coroutine(log: list[str]) -> None:
    await asyncio.sleep(0)
    log.append("awaited")


def module_generator(log: list[str]) -> Any:
    log.append("begun")
    yield 1
    log.append("ended")


def test_functions_coroutines_and_generators_are_held_without_touching_their_code() -> None:
    log: list[str] = []

    async def call() -> None:
        await module_coroutine(log)
        module_function(log)
        for _ in module_generator(log):
            pass

    starter = TaskStarter(call, name="a")
    order = [
        starter.add_checkpoint_before(module_coroutine),
        starter.add_checkpoint_after(module_coroutine),
        starter.add_checkpoint_before(module_function),
        starter.add_checkpoint_before(module_generator),
        starter.add_checkpoint_after(module_generator),
    ]
    original = module_function
    with Conductor([starter], order) as conductor:
        assert [len(log) for _ in conductor] == [0, 1, 1, 2, 4]
    assert module_function is original


@pytest.mark.parametrize("target", [len, [].append, json.dumps.__call__], ids=["builtin", "method of C", "slot"])
def test_what_is_not_written_in_python_cannot_be_wrapped_and_is_named(target: Any) -> None:
    with pytest.raises(runner.CircuitRunError, match="is not written in Python"):
        ThreadStarter(print).add_checkpoint_before(target)


def test_a_function_inside_a_function_cannot_be_wrapped_and_is_named() -> None:
    def inner() -> None:
        """It cannot be found under its name."""

    with pytest.raises(runner.CircuitRunError, match="cannot be found under its name"):
        ThreadStarter(inner).add_checkpoint_before(inner)


def test_actors_have_different_names_and_an_order_names_them() -> None:
    with pytest.raises(runner.CircuitRunError, match="two actors are called a"):
        Conductor([ThreadStarter(print, name="a"), ThreadStarter(print, name="a")], [])
    with pytest.raises(runner.CircuitRunError, match='there is no actor worked; did you mean "worker"'):
        Conductor([ThreadStarter(print, name="worker")], ["worked: here"])
    with pytest.raises(runner.CircuitRunError, match='expected "actor: step"'):
        Conductor([ThreadStarter(print, name="worker")], ["here"])


def test_one_conductor_at_a_time_holds_the_checkpoints_of_a_process() -> None:
    with Conductor([], []), pytest.raises(probe.errors.ProbeError, match="another conductor"), Conductor([], []):
        pass
    assert gate._gate is None


def test_what_belongs_to_no_actor_is_never_held() -> None:
    def work() -> None:
        thread = threading.Thread(target=probe.checkpoint, args=("here",))
        thread.start()
        thread.join()
        probe.checkpoint("there")

    with Conductor([ThreadStarter(work, name="a")], ["a: there", "a: here"]) as conductor:
        assert str(next(conductor)) == "a: there"
        probe.checkpoint("here")


def test_a_process_that_is_killed_ends_the_waiting() -> None:
    def die() -> None:
        import os

        os._exit(7)

    with (
        pytest.raises(OrderError, match="ended with code 7"),
        Conductor([ProcessStarter(die, name="a")], ["a: never"]) as conductor,
    ):
        next(conductor)


def test_a_process_whose_conductor_is_gone_is_held_no_more(tmp_path: Path) -> None:
    code = """
import os, probe, sys
from pathlib import Path
from runner import Conductor, ProcessStarter
def work():
    probe.checkpoint("here")
    Path(sys.argv[1]).write_text("went on")
with Conductor([ProcessStarter(work, name="a")], ["a: here"]) as conductor:
    next(conductor)
    os._exit(0)
"""
    done = tmp_path / "done"
    subprocess.run([sys.executable, "-c", code, str(done)], check=True, timeout=60)
    assert poll(done.exists)
