"""`make chaos`: plays run after run until enough was killed, and says what went wrong. Exit code 1 if anything did.

    python -m tests.chaos                       1,000 kills; the table goes to docs/reliability.md
    python -m tests.chaos --runs 20             so many runs, printed only
    python -m tests.chaos --replay SEED         one run again; its folder is kept

A run is a function of its seed, but for how the processes happen to race: a bad run may need several replays
(`--replay SEED --runs 20`).
"""

import argparse
import itertools
import json
import os
import platform
import random
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos import report
from tests.chaos.plan import EVENTS, plan_of
from tests.chaos.play import play
from tests.chaos.report import Played


def main(argv: list[str]) -> int:
    words = arguments(argv)
    figures: dict[str, Any] = {}
    campaign = report.Campaign(words.seed if words.replay is None else words.replay, words.events)
    for number in itertools.count() if words.runs is None else range(words.runs):
        seed = words.seed + number if words.replay is None else words.replay
        plan = plan_of(seed, words.events)
        if words.replay is not None and not number:
            print(plan, flush=True)
        played = play(plan, _fresh(words.folder / (f"{seed}" if words.replay is None else f"{seed}-{number}")))
        campaign.add(played)
        print(line(played, campaign.kills), flush=True)
        if not played.faults and words.replay is None:
            shutil.rmtree(played.folder)
        figures = {**campaign.figures(), **_machine()}
        if words.runs is None:  # after every run: a campaign that is cut off was one all the same
            report.RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
            report.write(figures)
            if campaign.kills >= words.kills:
                break
    print(report.table(figures))
    for bad in campaign.bad_seeds:
        print(f"again: python -m tests.chaos --replay {bad} --events {words.events}")
    return 1 if campaign.bad_seeds else 0


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.chaos", description="Runs whose processes are killed at random.")
    parser.add_argument("--kills", type=int, default=1000, help="go on until so many were killed (default: 1000)")
    parser.add_argument("--runs", type=int, help="play so many runs instead, and write no table")
    parser.add_argument("--seed", type=int, help="seed of the first run; the next has the next (default: any)")
    parser.add_argument("--events", type=int, default=EVENTS, help=f"of one run (default: {EVENTS})")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play this run again and keep its folder")
    parser.add_argument(
        "--folder", type=Path, default=Path(".circuit/chaos"), help="where bad runs are kept (default: .circuit/chaos)"
    )
    words = parser.parse_args(argv)
    if words.replay is not None and words.runs is None:
        words.runs = 1
    if words.seed is None:
        words.seed = random.SystemRandom().randrange(10**6)
    return words


def line(played: Played, kills: int) -> str:
    """One run for people; `kills` so far."""
    plan = played.plan
    struck = ", ".join(f"{count} {victim}" for victim, count in sorted(played.struck.items())) or "nobody"
    plant = f"; {plan.plant.unit} emits {plan.plant.number} {plan.plant.copies} times" if plan.plant is not None else ""
    head = f"{plan.seed:>7}  {played.seconds:5.1f} s  {kills:>5} kills  {struck}{plant}"
    return "\n".join([head, *(f"         {fault.wrong}: {fault.what}" for fault in played.faults)])


def _fresh(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return folder.resolve()


def _machine() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
