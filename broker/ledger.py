"""Which sequence numbers of an incarnation are in the log. Pure: numbers in, decisions out.

Belongs here: the rule that makes a batch new, old or premature. Must not know bytes, sockets or files.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_SEQ: Final = 2**63 - 1
"""Largest sequence number that is believed."""
NO_PROCESS: Final = ("", 0)
"""The process of a peer that does not say which it is."""


class Acceptance(Enum):
    """What to do with a message about sequence numbers."""

    APPEND = "append"
    """Put it into the log, without those of its numbers that are there already."""
    KNOWN = "known"
    """All of it is in the log already."""
    REWIND = "rewind"
    """Numbers before it are missing and they were not said to be lost: drop it, the sender has to go back."""
    VIOLATION = "violation"
    """No sender that counts from 1 can mean this."""


@dataclass(slots=True)
class Account:
    """What is known of one incarnation. Every number below `next_seq` is in the log, or is known there to be lost."""

    next_seq: int = 1
    final: int | None = None
    """Last number according to FINAL; None: it may say more."""
    rewinding: bool = False
    """WELCOME has asked it to go back, and it has not done so yet; what it had on the way meanwhile is refused in
    silence."""
    process: tuple[str, int] = NO_PROCESS
    """Boot id of the host and pid of the process that said HELLO first: the only one that can mean these numbers."""
    contested: bool = False
    """Another process has said HELLO under this incarnation, and that stands in the log."""

    def claim(self, process: tuple[str, int]) -> bool:
        """Whether `process` (boot id and pid) may say HELLO as this incarnation: the first that says who it is may."""
        if not all(self.process):
            self.process = process
        return self.process == process or not all(process)

    def judge(self, first: int, end: int) -> Acceptance:
        """Decide about the numbers from `first` up to but not including `end`. None at all (`first` == `end`) is a
        watermark: right as soon as everything before it is known, however often it comes."""
        if not 1 <= first <= end <= MAX_SEQ:
            return Acceptance.VIOLATION
        if first > self.next_seq:
            return Acceptance.REWIND
        if first < end <= self.next_seq:
            return Acceptance.KNOWN
        return Acceptance.APPEND

    def judge_final(self, last: int) -> Acceptance:
        """Decide about FINAL. A sender that knows fewer numbers than the log (its journal was cut short by a crash) is
        still right that there will be no more."""
        if last >= MAX_SEQ:
            return Acceptance.VIOLATION
        if last >= self.next_seq:
            return Acceptance.REWIND
        return Acceptance.KNOWN if self.final == self.next_seq - 1 else Acceptance.APPEND

    def known(self, first: int, end: int) -> int:
        """How many of the numbers from `first` up to but not including `end` are in the log."""
        return max(0, min(self.next_seq, end) - first)

    def advance(self, end: int) -> None:
        """Everything below `end` is in the log now."""
        self.next_seq = max(self.next_seq, end)

    def finish(self) -> None:
        """What is in the log now is all that this incarnation will ever have said."""
        self.final = self.next_seq - 1


class Ledger:
    """The accounts of a run, by (unit, incarnation)."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, int], Account] = {}
        self._lives: Counter[str] = Counter()
        self._talking: Counter[str] = Counter()
        """Unit -> how many of its incarnations have not said FINAL."""
        self.unfinished = 0
        """How many incarnations have not said FINAL."""

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._accounts)

    def find(self, unit: str, incarnation: int) -> Account | None:
        """The account, if this incarnation has ever said anything."""
        return self._accounts.get((unit, incarnation))

    def open(self, unit: str, incarnation: int) -> Account:
        """The account, made if there is none."""
        account = self._accounts.get((unit, incarnation))
        if account is None:
            account = self._accounts[unit, incarnation] = Account()
            self._lives[unit] += 1
            self._talking[unit] += 1
            self.unfinished += 1
        return account

    def finish(self, unit: str, incarnation: int) -> None:
        """What is in the log of this incarnation is all that it will ever have said."""
        account = self.open(unit, incarnation)
        if account.final is None:
            self._talking[unit] -= 1
            self.unfinished -= 1
        account.finish()

    def lives(self, unit: str) -> int:
        """How many incarnations the unit has had."""
        return self._lives[unit]

    def finished(self, unit: str) -> bool:
        """Whether the unit has had incarnations, and all of them have said FINAL."""
        return bool(self._lives[unit]) and not self._talking[unit]
