"""What a run will suffer: a function of its seed and nothing else, so that a run can be played again.

Belongs here: who is struck, at which count, and which fault is planted. Must not know processes.
"""

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UNITS: Final = ("first", "second", "third", "fourth")
"""The chain, in order: each unit emits an event after the one before it has."""
STEP: Final = "passed"
EVENTS: Final = 100_000
"""Of a whole run."""
MAX_STALL_MS: Final = 150
MAX_AGE_MS: Final = 250
"""A unit needs about so long from its start to its first event, on a machine with nothing else to do."""
MAX_STEP_S: Final = 7200
"""How far a clock is set, either way."""
MAX_KILLS_OF_A_UNIT: Final = 3
"""As often as the runner starts a unit again."""


class Victim(StrEnum):
    UNIT = "unit"
    BROKER = "broker"
    RUNNER = "runner"
    WATCHER = "watcher"
    STALL = "stall"
    """The broker, stopped for a while and not killed."""
    STOPPED_UNIT = "stopped unit"
    STOPPED_SUPERVISOR = "stopped supervisor"
    STOPPED_RUNNER = "stopped runner"
    CLOCK = "clock"
    """The wall clock of every process of the run, which is set to another time."""


STOPPED: Final = (Victim.STALL, Victim.STOPPED_UNIT, Victim.STOPPED_SUPERVISOR, Victim.STOPPED_RUNNER)
"""These get SIGSTOP, and SIGCONT a while later."""
KILLED: Final = (Victim.UNIT, Victim.BROKER, Victim.RUNNER, Victim.WATCHER)


@dataclass(frozen=True, slots=True)
class Strike:
    """`victim` is struck when `unit` has emitted `count` events. A victim that is a unit is that one; with `count` 0 it
    is struck while it starts, `age_ms` after its process is there."""

    victim: Victim
    unit: str
    count: int
    age_ms: int = 0
    stall_ms: int = 0
    """How long it is stopped."""
    clock_s: int = 0
    """How far from the true time the clock is set."""


@dataclass(frozen=True, slots=True)
class Plant:
    """A fault of the system under test: `unit` emits event `number` that many times."""

    unit: str
    number: int
    copies: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Event numbers of each unit go from 0 to `events` - 1."""

    seed: int
    events: int
    """Of each unit."""
    pause_every: int
    """Units rest for a millisecond after so many events; 0: never."""
    strikes: tuple[Strike, ...]
    plant: Plant | None = None
    verified: bool = False
    """Whether the run is also judged again from its folder; one whose runner is killed always is."""
    forks_every: int = 0
    """After so many events a unit forks a child, which emits some of its own and ends in its own way; 0: never."""
    beside: bool = False
    """Whether another run takes place in the same folder at the same time."""
    disk_kib: int = 0
    """Size of the disk on which the run keeps what it keeps; 0: as large as it wants."""

    def copies(self, unit: str, number: int) -> int:
        """How often `unit` emits event `number` unless it is killed."""
        planted = self.plant is not None and (self.plant.unit, self.plant.number) == (unit, number)
        return self.plant.copies if self.plant is not None and planted else 1

    def most(self, unit: str) -> int:
        """How often an event of `unit` may legally be seen: a life that is killed leaves one that the next repeats."""
        return 1 + sum(strike.victim is Victim.UNIT and strike.unit == unit for strike in self.strikes)

    @property
    def kills_runner(self) -> bool:
        return any(strike.victim is Victim.RUNNER for strike in self.strikes)


def plan_of(seed: int, events: int = EVENTS) -> Plan:
    """The plan of the run with this seed; `events` of all units together. Victims of two kinds at least."""
    dice = random.Random(seed)
    each = events // len(UNITS)
    strikes = []
    planted = dice.random() < 0.25
    spared = dice.choice(UNITS) if planted else ""
    kills = Counter[str]()
    for _ in range(dice.randint(1, 6)):
        unit = dice.choice([unit for unit in UNITS if unit != spared])
        if kills[unit] < MAX_KILLS_OF_A_UNIT:
            kills[unit] += 1
            starting = dice.random() < 0.15
            age_ms = dice.randint(0, MAX_AGE_MS) if starting else 0
            strikes.append(Strike(Victim.UNIT, unit, 0 if starting else _moment(dice, each), age_ms))
    others = dice.sample((Victim.BROKER, Victim.BROKER, Victim.WATCHER), dice.randint(1, 2))
    strikes += [Strike(victim, dice.choice(UNITS), _moment(dice, each)) for victim in others]
    if dice.random() < 0.4:
        stall_ms = dice.randint(1, MAX_STALL_MS)
        strikes.append(Strike(Victim.STALL, dice.choice(UNITS), _moment(dice, each), stall_ms=stall_ms))
    if dice.random() < 0.2:
        strikes.append(Strike(Victim.RUNNER, dice.choice(UNITS), _moment(dice, each)))
    pause_every = dice.choice((0, 50, 200))
    verified = dice.random() < 0.25
    most = 1 + kills[spared]
    plant = Plant(spared, dice.randrange(each), dice.choice((0, most + 1, most + 2))) if planted else None
    for victim in STOPPED[1:]:
        if dice.random() < 0.2:
            stall_ms = dice.randint(1, MAX_STALL_MS)
            strikes.append(Strike(victim, dice.choice(UNITS), _moment(dice, each), stall_ms=stall_ms))
    for _ in range(dice.choice((0, 0, 1, 3))):
        clock_s = dice.randint(-MAX_STEP_S, MAX_STEP_S)
        strikes.append(Strike(Victim.CLOCK, dice.choice(UNITS), _moment(dice, each), clock_s=clock_s))
    forks_every = dice.choice((0, each // 5 + 1, each // 3 + 1))
    beside = dice.random() < 0.15
    disk_kib = 0
    if not beside and dice.random() < 0.1:
        disk_kib = dice.choice((300, 1000, 3000, 6000, 12_000))
        strikes = [strike for strike in strikes if strike.victim not in (Victim.RUNNER, Victim.WATCHER)]
    return Plan(seed, each, pause_every, tuple(strikes), plant, verified, forks_every, beside, disk_kib)


def _moment(dice: random.Random, events: int) -> int:
    """A count at which to strike: anywhere, and a little more often near both ends, where things begin and end."""
    lot = dice.random()
    if lot < 0.1:
        return dice.randint(1, max(1, events // 100))
    if lot < 0.2:
        return events - dice.randint(0, events // 100)
    return dice.randint(1, events)
