"""`result.json`: the contract's names, and the same result back."""

import json
from pathlib import Path

import pytest

from runner.errors import RecordingError
from runner.history import folder, index, record
from runner.verifier.verdict import (
    CircuitResult,
    Evidence,
    Finding,
    FindingClass,
    Hop,
    Instances,
    Latency,
    Lost,
    Pairs,
    Required,
    Result,
    UnitResult,
    Verdict,
)

LATENCY = Latency(100, 1, 2, 3, 4, 5)
RESULT = Result(
    run="r",
    scenario="order-flow",
    verdict=Verdict.FAILED,
    duration_s=1.25,
    units=(UnitResult("worker", "finished", 0, "local", 12, 0.1),),
    circuits=(
        CircuitResult(
            "order",
            Verdict.FAILED,
            Instances(100, 99, 1, 0, 0),
            LATENCY,
            (Hop("api: order-sent", "worker: order-received", LATENCY),),
        ),
    ),
    pairs=Pairs(100, ("a",), (), ("b",)),
    required=Required((("worker", "worker-ready"),), ()),
    findings=(Finding(FindingClass.MISSING, "gone", "order", "order-17", "worker", "row-written", 5, ("last",)),),
    evidence=Evidence(
        412, 410, 3, 1, (Lost("worker", 7, 3, 4, "bound"),), incidents={"lab-3: unknown key": 2}, broker_restarts=1
    ),
    notes=("n",),
)


def test_the_file_has_the_fields_of_the_contract() -> None:
    plain = json.loads(record.dump(RESULT))
    numbers = {"count": 100, "p50_ns": 1, "p90_ns": 2, "p99_ns": 3, "max_ns": 4, "error_ns": 5, "negative": 0}
    assert plain["schema"] == 1
    assert plain["verdict"] == "failed"
    assert plain["units"] == [
        {"name": "worker", "state": "finished", "exit_code": 0, "host": "local", "events": 12, "ready_s": 0.1}
    ]
    assert plain["circuits"] == [
        {
            "name": "order",
            "verdict": "failed",
            "instances": {"started": 100, "complete": 99, "failed": 1, "open": 0, "inconclusive": 0},
            "latency": numbers,
            "hops": [{"from": "api: order-sent", "to": "worker: order-received", **numbers}],
        }
    ]
    assert plain["pairs"]["orphan_sends"] == ["a"]
    assert plain["required"] == {"completed": [{"unit": "worker", "step": "worker-ready"}], "missing": []}
    assert plain["findings"][0]["class"] == "missing"
    assert {"circuit", "key", "unit", "step", "message"} <= plain["findings"][0].keys()
    assert plain["evidence"]["lost"][0]["first"] == 3


def test_what_is_written_is_read_back() -> None:
    assert record.load(record.dump(RESULT), "result.json") == RESULT


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2}'])
def test_a_file_that_is_no_result_is_a_clear_error(text: str) -> None:
    with pytest.raises(RecordingError, match=r"^result.json "):
        record.load(text, "result.json")


def test_the_index_has_a_row_a_run(tmp_path: Path) -> None:
    import sqlite3

    made = folder.create(tmp_path, "order-flow")
    index.add(tmp_path, made, RESULT)
    index.add(tmp_path, made, RESULT)
    with sqlite3.connect(tmp_path / "history.db") as database:
        rows = database.execute("select run, verdict, folder from runs").fetchall()
    database.close()
    assert rows == [("r", "failed", f"runs/{made.run}")]
