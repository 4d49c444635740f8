"""The units of the scenario, and the tally in which they note what they emitted: it survives them, whatever ends them.

Runs inside the units, copied beside the scenario; so it imports nothing of ours but `probe`.

The tally is a file of 8-byte words. Each unit has a word that counts its lives, and for each life a slot:

    pid     of its process
    first   number of the event it begins with
    begun   one above the number of the last event it began to emit
    done    one above the number of the last event whose emit has returned

A word is stored by one instruction. What is below `done` has been emitted; if `begun` is greater, one event more may
have been. The next life begins with that one. Behind the lives come the children that the unit forks, in the same way.
"""

import json
import mmap
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import probe

LIVES = 8
CHILDREN = 16
CHILD_EVENTS = 300
CHILD_STEP = "aside"
_SLOT = 4
_CHILDREN = 1 + LIVES * _SLOT
"""Where a unit's children begin."""
_UNIT_WORDS = _CHILDREN + 1 + CHILDREN * _SLOT
_PID, _FIRST, _BEGUN, _DONE = range(_SLOT)
NAP_S = 0.0005


@dataclass(frozen=True)
class Life:
    """One life of a unit, or one of its children, as it noted it itself."""

    pid: int
    first: int
    begun: int
    done: int


class Tally:
    """The mapped file. `units` are in the order of the scenario."""

    def __init__(self, path: Path, units: tuple[str, ...]) -> None:
        """Makes the file if there is none."""
        self._places = {unit: index * _UNIT_WORDS for index, unit in enumerate(units)}
        size = len(units) * _UNIT_WORDS * 8
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(file, size)
            self._map = mmap.mmap(file, size)
        finally:
            os.close(file)
        self.words: Any = memoryview(self._map).cast("Q")

    def close(self) -> None:
        self.words.release()
        self._map.close()

    def begin(self, unit: str) -> int:
        """A new life of `unit`; gives the index of its slot. Its first event is the one after those that are done."""
        place = self._places[unit]
        slot: int = place + 1 + self.words[place] * _SLOT
        self.words[slot + _PID] = os.getpid()
        for word in (_FIRST, _BEGUN, _DONE):
            self.words[slot + word] = self.done(unit)
        self.words[place] += 1
        return slot

    def child(self, unit: str) -> int:
        """One child more of `unit`, about to be forked; gives the index of its slot, 0 if there is none left."""
        place = self._places[unit] + _CHILDREN
        number: int = self.words[place]
        if number == CHILDREN:
            return 0
        self.words[place] = number + 1
        return place + 1 + number * _SLOT

    def children(self, unit: str) -> list[Life]:
        """Every child that got as far as to begin."""
        return [life for life in self._slots(self._places[unit] + _CHILDREN) if life.pid]

    def done(self, unit: str) -> int:
        """One above the number of the last event that `unit` has emitted, in any life."""
        return self._latest(unit, _DONE)

    def pid(self, unit: str) -> int:
        """Process of the latest life; 0: none yet."""
        return self._latest(unit, _PID)

    def lives(self, unit: str) -> list[Life]:
        """Every life that got as far as to begin."""
        return self._slots(self._places[unit])

    def _slots(self, place: int) -> list[Life]:
        slots = (place + 1 + number * _SLOT for number in range(self.words[place]))
        return [Life(*self.words[slot : slot + _SLOT].tolist()) for slot in slots]

    def _latest(self, unit: str, word: int) -> int:
        place = self._places[unit]
        lives: int = self.words[place]
        return int(self.words[place + 1 + (lives - 1) * _SLOT + word]) if lives else 0


def work() -> None:
    """What every unit of the chain does. `orders.json` beside this file says how much of it."""
    unit = os.environ["CIRCUIT_UNIT"]
    orders = json.loads(Path("orders.json").read_text())
    units, events, step, pause_every = orders["units"], orders["events"], orders["step"], orders["pause_every"]
    forks_every = orders["forks_every"]
    copies = {int(number): count for number, count in orders["copies"].get(unit, {}).items()}
    before = units[units.index(unit) - 1] if unit != units[0] else ""
    tally = Tally(Path("tally"), tuple(units))
    slot = tally.begin(unit)
    words, begun, done = tally.words, slot + _BEGUN, slot + _DONE
    while words[done] < events:
        free = tally.done(before) if before else events
        if words[done] >= free:
            time.sleep(NAP_S)
        for number in range(words[done], free):
            words[begun] = number + 1
            for _ in range(copies.get(number, 1)):
                probe.emit(step, key=str(number))
            words[done] = number + 1
            if forks_every and number % forks_every == forks_every // 2:
                fork(tally, unit)
            if pause_every and number % pause_every == 0:
                time.sleep(0.001)
    while children:
        os.waitpid(children.pop(), 0)


children: list[int] = []
"""That this process has forked."""


def fork(tally: Tally, unit: str) -> None:
    """A child that emits events of its own, and is killed then or ends without a word."""
    if not (slot := tally.child(unit)):
        return
    if pid := os.fork():
        children.append(pid)
        return
    words = tally.words
    words[slot + _PID] = os.getpid()
    for number in range(CHILD_EVENTS):
        words[slot + _BEGUN] = number + 1
        probe.emit(CHILD_STEP, key=str(number))
        words[slot + _DONE] = number + 1
    if slot % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


def beside() -> None:
    """What the unit of the run beside does."""
    for number in range(json.loads(Path("orders.json").read_text())["beside"]):
        probe.emit("went", key=str(number))
        time.sleep(NAP_S)
