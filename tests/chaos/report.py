"""Many runs as figures, and as the table of docs/reliability.md.

Belongs here: counting and wording. Must not know how runs are played.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.judge import Fault, Wrong
from tests.chaos.plan import KILLED, Plan, Victim

ROOT: Final = Path(__file__).parent.parent.parent
RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = ROOT / "docs" / "reliability.md"
BEGIN: Final = "<!-- written by `make chaos`: begin -->"
END: Final = "<!-- written by `make chaos`: end -->"

_VICTIMS: Final = {
    Victim.UNIT: "units killed",
    Victim.BROKER: "brokers killed",
    Victim.RUNNER: "runners killed",
    Victim.WATCHER: "watching readers killed",
    Victim.STALL: "brokers stopped for a while",
    Victim.STOPPED_UNIT: "units stopped for a while",
    Victim.STOPPED_SUPERVISOR: "supervisors stopped for a while",
    Victim.STOPPED_RUNNER: "runners stopped for a while",
    Victim.CLOCK: "times the wall clock was set",
}
_WRONGS: Final = {
    Wrong.LOST: "events lost",
    Wrong.DUPLICATED: "events duplicated",
    Wrong.MISORDERED: "lives out of order",
    Wrong.FALSE_FAILED: "false `failed`",
    Wrong.FALSE_PASSED: "false `passed`",
    Wrong.INCONCLUSIVE: "wrongly `inconclusive`",
    Wrong.OTHER_FINDING: "wrong findings",
    Wrong.VERIFY_DIFFERS: "judged otherwise by `verify`",
    Wrong.BROKEN: "runs that broke",
    Wrong.LEFTOVER: "processes and files left",
}


@dataclass(slots=True)
class Played:
    """What one run came to. `struck` counts strikes that found their victim alive; `folder` is kept."""

    plan: Plan
    folder: Path
    struck: Counter[Victim] = field(default_factory=Counter)
    emitted: int = 0
    """How many emits are known to have returned."""
    children: int = 0
    """How many children units have forked."""
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Campaign:
    """The sum of all runs so far."""

    seed: int
    events_per_run: int
    runs: int = 0
    planted: int = 0
    """Runs with a fault of the system under test, which has to be found."""
    verified: int = 0
    beside: int = 0
    """Runs with another one in the same folder."""
    small_disks: int = 0
    children: int = 0
    emitted: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    bad_seeds: list[int] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """SIGKILLs that found their victim alive."""
        return sum(self.struck[victim] for victim in KILLED)

    def add(self, played: Played) -> None:
        """One run more."""
        self.runs += 1
        self.planted += played.plan.plant is not None
        self.verified += played.plan.verified or played.plan.kills_runner
        self.beside += played.plan.beside
        self.small_disks += played.plan.disk_kib > 0
        self.children += played.children
        self.emitted += played.emitted
        self.struck.update({str(victim): count for victim, count in played.struck.items()})
        for fault in played.faults:
            self.wrong[str(fault.wrong)] += fault.count
        if played.faults:
            self.bad_seeds.append(played.plan.seed)

    def figures(self) -> dict[str, Any]:
        """What is kept in the results file."""
        return {**asdict(self), "struck": dict(self.struck), "wrong": dict(self.wrong), "kills": self.kills}


def kept() -> dict[str, Any]:
    """The figures of the last long campaign."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def write(figures: dict[str, Any]) -> None:
    """Put them on the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


def table(figures: dict[str, Any]) -> str:
    """The table, and where it was measured."""
    struck, wrong = figures["struck"], figures["wrong"]
    rows = [
        ("runs", figures["runs"]),
        ("of them with a planted fault, which was to be found", figures["planted"]),
        ("of them judged again by `verify`", figures["verified"]),
        ("of them with another run in the same folder at the same time", figures["beside"]),
        ("of them on a disk that may be too small", figures["small_disks"]),
        ("SIGKILLs that found their victim alive", figures["kills"]),
        *((name, struck.get(victim, 0)) for victim, name in _VICTIMS.items()),
        ("children that units forked, half of them killed", figures["children"]),
        ("events known to be emitted", figures["emitted"]),
        *((f"**{name}**", wrong.get(kind, 0)) for kind, name in _WRONGS.items()),
    ]
    return "\n".join(
        [
            f"Measured on {figures['date']}: {figures['system']}, {figures['cores']} cores, Python "
            f"{figures['python']}; {figures['events_per_run']:,} events a run, seeds from {figures['seed']} on.",
            "",
            "| what | how many |",
            "|---|---:|",
            *(f"| {name} | {count:,} |" for name, count in rows),
        ]
    )


def page(text: str, figures: dict[str, Any]) -> str:
    """`text`, a page with the two marks, with the table between them."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{table(figures)}\n\n{END}{tail}"
