"""`result.json`: the contract's names, and the same result back."""

import json
from pathlib import Path

import pytest

from runner.adapters.history import index, run_folder
from runner.model.errors import RecordingError
from runner.model.result import result_json
from runner.model.result.result import (
    BarrierResult,
    CircuitResult,
    Evidence,
    Finding,
    FindingClass,
    Hop,
    HostResult,
    InstanceCounts,
    Latency,
    Lost,
    Pairs,
    Quantiles,
    Required,
    Result,
    UnitResult,
    Verdict,
)

LATENCY = Latency(100, 1, 2, 3, 4, 5, unknown=2, low=Quantiles(0, 1, 2, 3), high=Quantiles(2, 5, 7, 9))
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
            InstanceCounts(100, 99, 1, 0, 0),
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
    hosts=(HostResult("lab-2", "gone", 91_000, -5_000_000_000, 12.5, 170_000, 3.5),),
    barriers=(BarrierResult("go", 100, 41_000, 180_000, 200_000, 90_000),),
)


def test_the_file_has_the_fields_of_the_contract() -> None:
    plain = json.loads(result_json.dump(RESULT))
    low = {"p50_ns": 0, "p90_ns": 1, "p99_ns": 2, "max_ns": 3}
    high = {"p50_ns": 2, "p90_ns": 5, "p99_ns": 7, "max_ns": 9}
    numbers: dict[str, object] = {"count": 100, "p50_ns": 1, "p90_ns": 2, "p99_ns": 3, "max_ns": 4, "error_ns": 5}
    numbers |= {"p50_error_ns": 1, "p90_error_ns": 3, "p99_error_ns": 4, "max_error_ns": 5}
    numbers |= {"negative": 0, "unknown": 2, "low": low, "high": high}
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
    assert plain["hosts"] == [
        {
            "name": "lab-2",
            "state": "gone",
            "clock_error_ns": 91_000,
            "offset_ns": -5_000_000_000,
            "drift_ppm": 12.5,
            "rtt_ns": 170_000,
            "away_s": 3.5,
        }
    ]
    assert plain["barriers"] == [
        {
            "name": "go",
            "rounds": 100,
            "skew_p50_ns": 41_000,
            "skew_p99_ns": 180_000,
            "skew_max_ns": 200_000,
            "error_ns": 90_000,
        }
    ]


def test_what_is_written_is_read_back() -> None:
    assert result_json.load(result_json.dump(RESULT), "result.json") == RESULT


def test_a_file_of_an_older_version_is_read() -> None:
    """Before there were hosts a latency had no interval and a result no hosts and barriers."""
    plain = json.loads(result_json.dump(RESULT))
    del plain["hosts"], plain["barriers"]
    for latency in (plain["circuits"][0]["latency"], *plain["circuits"][0]["hops"], plain["pairs"]["latency"]):
        for name in [*latency]:
            if name.endswith("_error_ns") or name in ("unknown", "low", "high"):
                del latency[name]
    found = result_json.load(json.dumps(plain), "result.json")
    assert (found.hosts, found.barriers) == ((), ())
    assert found.circuits[0].latency == Latency(100, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2}'])
def test_a_file_that_is_no_result_is_a_clear_error(text: str) -> None:
    with pytest.raises(RecordingError, match=r"^result.json "):
        result_json.load(text, "result.json")


def test_the_index_has_a_row_a_run(tmp_path: Path) -> None:
    import sqlite3

    made = run_folder.create(tmp_path, "order-flow")
    index.add(tmp_path, made, RESULT)
    index.add(tmp_path, made, RESULT)
    with sqlite3.connect(tmp_path / "history.db") as database:
        rows = database.execute("select run, verdict, folder from runs").fetchall()
    database.close()
    assert rows == [("r", "failed", f"runs/{made.run}")]
