"""The process in which test functions of a legacy folder run: `circuit_run runner.adapters.usercode.legacy_tester ...`.

Belongs here: calling them in their order, and `validate_test` after each. Must not know what the outcome means.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from probe.clock import monotonic
from runner.adapters.usercode import user_code_worker
from runner.adapters.usercode.user_code_worker import Reply


def tests(request: dict[str, Any]) -> Reply:
    """Calls the functions in `tests` (entrypoint, priority, parallelize) as they stand; neighbours of one priority that
    say `parallelize` at the same time. After one that passed, `validate` is called with its name."""
    validate = request["validate"]

    def run(test: dict[str, Any]) -> Reply:
        return _run(test["entrypoint"], validate)

    outcomes: list[Reply] = []
    for (_, together), group in groupby(request["tests"], key=lambda test: (test["priority"], test["parallelize"])):
        outcomes += (_at_once if together else map)(run, group)
    return {"tests": outcomes}


def _at_once(run: Callable[[dict[str, Any]], Reply], group: Iterable[dict[str, Any]]) -> list[Reply]:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return list(pool.map(run, group))


def _run(entrypoint: str, validate: str | None) -> Reply:
    name = entrypoint.partition(":")[2]
    started = monotonic()
    reply = user_code_worker.call({"entrypoint": entrypoint, "arguments": ()})
    if "error" not in reply and validate is not None:
        verdict = user_code_worker.call({"entrypoint": validate, "arguments": (name,)})
        if "error" in verdict:
            reply = {**verdict, "error": f"validate_test: {verdict['error']}"}
        elif not verdict["returned"]:
            reply = {"error": f"validate_test({name!r}) returned {verdict['returned']}", "traceback": []}
    outcome = {"error": reply.get("error", ""), "traceback": reply.get("traceback", [])}
    return {"name": name, "seconds": monotonic() - started, **outcome}


def main(argv: list[str]) -> None:
    """Serve as `argv` says."""
    user_code_worker.serve({"tests": tests, "call": user_code_worker.call}, argv)
