"""Test functions and callbacks of a legacy folder, in a process of their own."""

from pathlib import Path

from runner.adapters.launch.callback import Answer
from runner.adapters.launch.legacy_functions import Functions
from runner.adapters.start_orders import RunContext
from runner.model.scenario.model import Legacy, LegacyTest, Scenario, Unit
from tests.support.launch_stage import stage

CODE = """
import threading
from testrium.modules.events import Events_Manager
from testrium.common.utils import test_config

order = []
both = threading.Barrier(2)

def test_first():
    Events_Manager(Unit="api").Set_Event("api-called")
    assert Events_Manager(Unit="api").completed_steps() == {"api-called"}
    order.append("first")

def test_fails():
    order.append("fails")
    assert 1 == 2, "sums differ"

@test_config(priority=2, parallelize=True)
def test_left():
    both.wait(10)

@test_config(priority=2, parallelize=True)
def test_right():
    both.wait(10)

def test_disliked():
    order.append("disliked")

async def test_async():
    order.append("async")

def validate_test(name):
    return name != "test_disliked"

def tests_results(data):
    assert order == ["first", "fails", "disliked", "async"], order
    return data["passed"]

def forgets(data):
    pass

def test_kills():
    import os
    os._exit(3)
"""


def never() -> bool:
    return False


def legacy_folder(folder: Path, names: list[str], results: str | None = "tests_results") -> Scenario:
    tests = [LegacyTest(f"app:{name}") for name in names]
    tests += [LegacyTest("app:test_left", 2, True), LegacyTest("app:test_right", 2, True)]
    legacy = Legacy(
        tests=tuple(tests), validate_test="app:validate_test", tests_results=f"app:{results}" if results else None
    )
    return Scenario("s", str(folder), "config.toml", (), legacy=legacy)


def test_functions_run_in_order_and_speak_for_units(tmp_path: Path) -> None:
    names = ["test_first", "test_fails", "test_disliked", "test_async"]
    with stage(tmp_path, Unit("api", launcher="external"), code=CODE, legacy=Legacy()) as s:
        with Functions(legacy_folder(tmp_path, names), s.place) as functions:
            tested = functions.tests(never)
            assert {one.name: one.passed for one in tested} == {
                "test_first": True,
                "test_fails": False,
                "test_disliked": False,
                "test_async": True,
                "test_left": True,
                "test_right": True,
            }, tested
            s.until(lambda: "api-called" in s.steps("api"))
            why = {one.name: one.answer for one in tested if not one.passed}
            assert why["test_fails"].why == "raised AssertionError: sums differ"
            assert "in test_fails" in why["test_fails"].details[1]
            assert why["test_disliked"] == Answer(False, "validate_test('test_disliked') returned False")
            assert functions.results({"passed": True}, never) == Answer(True)
            assert functions.results({"passed": False}, never) == Answer(False, "returned False")


def test_callbacks_that_return_nothing_do_not_agree(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CODE)
    with Functions(legacy_folder(tmp_path, [], "forgets"), RunContext("", "r", tmp_path)) as functions:
        assert functions.results({}, never) == Answer(False, "returned None")


def test_a_test_that_ends_the_process_fails_them_all(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CODE)
    with Functions(
        legacy_folder(tmp_path, ["test_async", "test_kills"], None), RunContext("", "r", tmp_path)
    ) as functions:
        tested = functions.tests(never)
        assert [one.passed for one in tested] == [False] * 4
        assert {one.answer.why for one in tested} == {"ended its process with code 3"}
