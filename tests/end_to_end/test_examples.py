"""Every example, run as a user runs it: the real command, real processes, nothing left behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner import demo

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = Path(sys.executable).parent / "circuit-run"


@dataclass(frozen=True)
class Run:
    """What a user sees of one run: the exit code, the summary on the terminal, result.json."""

    exit_code: int
    text: str
    result: dict[str, Any]

    @property
    def first_lines(self) -> str:
        """The first ten lines of the summary: what a person reads before scrolling."""
        lines = self.text.splitlines()
        start = next(i for i, line in enumerate(lines) if self.result["verdict"].upper() in line)
        return "\n".join(lines[start : start + 10])

    def classes(self) -> set[str]:
        return {finding["class"] for finding in self.result["findings"]}

    def finding(self, cls: str, key: str | None) -> dict[str, Any]:
        """The finding of class `cls` for `key`."""
        found: dict[str, Any] = next(f for f in self.result["findings"] if f["class"] == cls and f["key"] == key)
        return found


class Place:
    """An empty folder to run in, and a temporary folder of its own for everything the run and its units create."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.temporary = temporary

    def run(self, *words: str | Path) -> Run:
        """`circuit-run WORDS` in this place."""
        result = self.folder / "result.json"
        done = subprocess.run(
            [COMMAND, *words, "--json", result],
            cwd=self.folder,
            env=os.environ | {"TMPDIR": str(self.temporary), "XDG_RUNTIME_DIR": str(self.temporary), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert result.exists(), done.stdout + done.stderr
        return Run(done.returncode, done.stdout, json.loads(result.read_text()))

    def left(self) -> list[str]:
        """Files and processes that are still there."""
        mine = str(self.temporary).encode()
        processes = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mine in (process / "environ").read_bytes():
                    processes.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return [*processes, *(str(path) for path in self.temporary.iterdir())]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    # Not below tmp_path: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="circuit-") as temporary:
        place = Place(tmp_path, Path(temporary))
        yield place
        assert place.left() == []


def test_hello_passes_and_keeps_its_run(place: Place) -> None:
    run = place.run(EXAMPLES / "hello")
    assert run.exit_code == 0, run.text
    assert "PASSED" in run.text
    (circuit,) = run.result["circuits"]
    assert circuit["instances"] == {"started": 10, "complete": 10, "failed": 0, "open": 0, "inconclusive": 0}
    assert run.result["pairs"]["paired"] == 10
    kept = place.folder / ".circuit" / "latest"
    assert json.loads((kept / "result.json").read_text()) == run.result
    assert (kept / "events.log").stat().st_size > 0


def test_the_demo_completes_200_orders_over_four_hops_and_two_workers(place: Place) -> None:
    run = place.run("demo", "-e", "PACE=0")
    assert run.exit_code == 0, run.text
    (circuit,) = run.result["circuits"]
    assert circuit["instances"]["complete"] == 200
    assert [hop["count"] for hop in circuit["hops"]] == [200] * 4
    assert all(hop["p50_ns"] > 0 for hop in circuit["hops"])
    assert run.result["evidence"]["emitted"] == run.result["evidence"]["received"] == 1003
    assert run.result["evidence"]["lost"] == []
    handled = {unit["name"]: unit["events"] for unit in run.result["units"] if unit["name"].startswith("worker-")}
    assert sum(handled.values()) == 2 * 200 + 2
    assert min(handled.values()) > 50


def test_the_demo_is_the_example() -> None:
    assert demo.path().resolve() == EXAMPLES / "orders"


FAULTS = {
    "lost-message": ("missing", "order-17", "order-received", "api: order-queued"),
    "wrong-key": ("missing", "order-17", "row-written", "order-71"),
    "duplicate-delivery": ("duplicate", "order-17", "order-received", "twice"),
    "slow-hop": ("late", "order-17", "row-written", "500 ms"),
    "crash": ("missing", "order-17", "row-written", "no space left on device"),
    "misspelt-probe": ("missing", "order-1", "row-written", "row-writen"),
}
"""Fault -> class, key and step of its finding, and what explains it."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_explained_in_the_first_ten_lines(place: Place, fault: str) -> None:
    cls, key, step, explanation = FAULTS[fault]
    run = place.run(EXAMPLES / "broken", "-e", f"FAULT={fault}")
    assert run.exit_code == 1, run.text
    for word in ("FAILED", cls, "order", key, f"worker-*: {step}", explanation):
        assert word in run.first_lines, run.text
    finding = run.finding(cls, key)
    assert (finding["circuit"], finding["step"]) == ("order", step)
    (circuit,) = run.result["circuits"]
    assert circuit["verdict"] == run.result["verdict"] == "failed"
    assert ("unit-failed" in run.classes()) == (fault == "crash")


def test_a_unit_that_never_gets_ready_is_named(place: Place) -> None:
    run = place.run(EXAMPLES / "broken", "-e", "FAULT=never-ready")
    assert run.exit_code == 1, run.text
    for word in ("FAILED", "not-ready", "worker-2", "worker-ready"):
        assert word in run.first_lines, run.text
    (finding,) = (found for found in run.result["findings"] if found["class"] == "not-ready")
    assert finding["unit"] == "worker-2"
