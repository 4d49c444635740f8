"""`make bench`: measures every target, prints the table, writes benchmarks/results.json and docs/performance.md.

`python -m benchmarks NAME...` measures only those files, e.g. `python -m benchmarks emit bus`. `make lab` measures what
needs hosts, which takes root and ten minutes: `python -m benchmarks lab`, and its parts `lab_hops` and so on; `make
soak` looks at memory for twenty minutes. The exit code says that it was measured, not that targets are met: a busy
machine is no defect.
"""

import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import report
from benchmarks.measure import Row

PARTS = ("emit", "bus", "barrier", "fanin", "stall", "verifier", "view", "clocks", "scenario")
LAB = ("lab_hops", "lab_barrier", "lab_crowd", "lab_gone")
SOAK = ("soak",)
"""These two only where they are asked for."""
RESULTS = Path(__file__).parent / "results.json"


def main(names: list[str]) -> int:
    asked = [part for name in names for part in (LAB if name == "lab" else (name,))]
    unknown = [name for name in asked if name not in (*PARTS, *LAB, *SOAK)]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; parts are {', '.join((*PARTS, 'lab', *LAB, *SOAK))}", file=sys.stderr)
        return 4
    rows: list[Row] = []
    for name in asked or PARTS:
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            rows.append(row)
            print(line(row), flush=True)
    if not names:
        results = {**machine(), "rows": [asdict(row) for row in rows]}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        report.PAGE.write_text(report.page(results), encoding="utf-8")
        print(f"written to {RESULTS.name} and {report.PAGE.name}")
    missed = [row.name for row in rows if not row.ok]
    print("every target met" if not missed else f"missed: {'; '.join(missed)}")
    return 0


def line(row: Row) -> str:
    """One row for people: what, ours, bare, ratio, target, met or not."""
    mark = "ok    " if row.ok else "MISSED"
    return f"{mark} {row.name:<58} {row.ours:>12,.4g} {row.bare:>12,.4g} {row.unit:<9} {row.ratio:>8.3g}  {row.target}"


def machine() -> dict[str, object]:
    """Where and when: enough to read the figures, not enough to find the machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
