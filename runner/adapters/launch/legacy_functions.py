"""The Python functions of a legacy folder that are called beside its units: `test_*`, `validate_test`, `tests_results`.

Belongs here: asking for them in a process of their own, and what the answers mean. Must not know when they are called.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runner.adapters.launch.callback import Answer, Meanwhile, UserCodeProcess
from runner.adapters.start_orders import RunContext
from runner.model.scenario.model import Legacy, Scenario

NAME: Final = "tests"
"""What these functions print is in `tests.out` and `tests.err` in the run folder."""
UNIT: Final = "@tests"
"""Who they are on the bus when they speak in no unit's name."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of one test function."""

    name: str
    answer: Answer
    seconds: float

    @property
    def passed(self) -> bool:
        return self.answer.ok


class Functions:
    """The functions of the legacy folder `scenario`, all called in one process that lives from `with` to its end."""

    def __init__(self, scenario: Scenario, context: RunContext) -> None:
        self._legacy = scenario.legacy or Legacy()
        self._patience_s = scenario.timeout_ns / 1e9
        self._callee = UserCodeProcess(
            scenario, context, NAME, "runner.adapters.usercode.legacy_tester", context.environment(UNIT)
        )

    def __enter__(self) -> "Functions":
        return self

    def __exit__(self, *_: object) -> None:
        self._callee.__exit__()

    def tests(self, meanwhile: Meanwhile) -> tuple[Tested, ...]:
        """Run every test function. When their process dies or takes too long, that is the answer of all of them."""
        legacy = self._legacy
        if not legacy.tests:
            return ()
        asked = [
            {"entrypoint": test.entrypoint, "priority": test.priority, "parallelize": test.parallelize}
            for test in legacy.tests
        ]
        request = {"do": "tests", "tests": asked, "validate": legacy.validate_test}
        reply = self._callee.ask(request, self._patience_s, meanwhile)
        if "error" in reply:
            answer = self._callee.answer(reply)
            return tuple(Tested(test.entrypoint.partition(":")[2], answer, 0.0) for test in legacy.tests)
        return tuple(Tested(one["name"], _answer(one), one["seconds"]) for one in reply["tests"])

    def results(self, data: Mapping[str, Any], meanwhile: Meanwhile) -> Answer:
        """Call `tests_results` with what the run came to: it must not raise, and must return something true."""
        if self._legacy.tests_results is None:
            return Answer(True)
        request = {"do": "call", "entrypoint": self._legacy.tests_results, "arguments": [data]}
        reply = self._callee.ask(request, self._patience_s, meanwhile)
        if "error" not in reply and not reply["returned"]:
            return Answer(False, f"returned {reply['returned']}", self._callee.tail())
        return self._callee.answer(reply)


def _answer(one: Mapping[str, Any]) -> Answer:
    if not one["error"]:
        return Answer(True)
    why = f"raised {one['error']}" if one["traceback"] else str(one["error"])
    return Answer(False, why, tuple(one["traceback"]))
