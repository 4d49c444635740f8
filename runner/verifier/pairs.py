"""Sends and receives matched by key over the whole run.

Belongs here: which keys were sent, received, both, or twice at the same place. Must not know circuits.

A key is paired when it was sent and received, by whomever: one send that many units receive is no duplicate, nor is a
chain that keeps its key. A duplicate is the same probe of the same unit firing twice with one key. Events without a
key pair with nothing.

Memory is bounded in paired keys: the last 65,536 to 131,072 are kept with all that is known of them, older ones as in
`memory`. Keys that wait for their other half are all kept.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from runner.verifier.memory import RECENT, Memory
from runner.verifier.verdict import Pairs

SENT: Final = 1
RECEIVED: Final = 2
EXPLAINED: Final = 4
"""A circuit's path has the probe that fired: the circuit judges what should have followed."""
TWICE: Final = 8
_SITE_BITS: Final = 4
SITES: Final = 4096
"""Probes of units told apart; those beyond have no duplicates."""
LISTED: Final = 10_000
"""Keys in each list of the result."""


class Lone(NamedTuple):
    """A key that is not as it should be, and where it fired: (unit, step) of each place."""

    key: str
    state: int
    sites: tuple[tuple[str, str], ...]


class PairBook:
    """All keys that were sent or received. What is known of a key is one integer: the flags above, then a bit per
    site."""

    def __init__(self) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._forgotten = Memory()
        self._forgotten_pairs = 0
        self._forgotten_twice: list[str] = []
        self._sites: list[tuple[str, str]] = []

    def site(self, unit: str, step: str, flags: int) -> int:
        """What one event of this probe says of its key: `flags` and the bit of the place."""
        if len(self._sites) >= SITES:
            return flags
        self._sites.append((unit, step))
        return flags | 1 << (_SITE_BITS + len(self._sites) - 1)

    def add(self, key: str, site: int) -> None:
        """An event with `key` at a place, as `site` returned it."""
        young = self._young
        known = young.get(key)
        if known is None:
            known = self._recall(key)
            if len(young) >= RECENT:
                self._age()
                young = self._young
        if (known & site) >> _SITE_BITS:
            known |= TWICE
        young[key] = known | site

    def _recall(self, key: str) -> int:
        for older in (self._old, self._waiting):
            if key in older:
                return older.pop(key)
        mark = self._forgotten.mark_of(key)
        if mark is None:
            return 0
        self._forgotten_pairs -= 1
        return SENT | RECEIVED | mark

    def _age(self) -> None:
        for key, known in self._old.items():
            if known & SENT and known & RECEIVED:
                self._forgotten.add(key, known & EXPLAINED)
                self._forgotten_pairs += 1
                if known & TWICE and len(self._forgotten_twice) < LISTED:
                    self._forgotten_twice.append(key)
            else:
                self._waiting[key] = known
        self._old, self._young = self._young, {}

    def _all(self) -> Iterator[tuple[str, int]]:
        return chain(self._young.items(), self._old.items(), self._waiting.items())

    def summary(self) -> Pairs:
        """How the keys stand, as of now."""
        both = SENT | RECEIVED
        return Pairs(
            paired=self._forgotten_pairs + sum(1 for _, known in self._all() if known & both == both),
            orphan_sends=self._keys(both, SENT),
            orphan_receives=self._keys(both, RECEIVED),
            duplicate_keys=tuple(sorted({*self._keys(TWICE, TWICE), *self._forgotten_twice}))[:LISTED],
        )

    def _keys(self, flags: int, state: int) -> tuple[str, ...]:
        return tuple(sorted(key for key, known in self._all() if known & flags == state)[:LISTED])

    def unexplained(self) -> Iterator[Lone]:
        """Keys without their other half, and keys twice at one place, that no circuit answers for."""
        for key, known in self._all():
            lone = known & (SENT | RECEIVED) != SENT | RECEIVED
            if (lone or known & TWICE) and not known & EXPLAINED:
                bits = known >> _SITE_BITS
                yield Lone(key, known, tuple(site for i, site in enumerate(self._sites) if bits >> i & 1))
