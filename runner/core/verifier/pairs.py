"""Sends and receives matched by key over the whole run.

Belongs here: which keys were sent, received, both, or twice at the same place. Must not know circuits.

A key is paired when it was sent and received, by any units: one send that many units receive is no duplicate, nor is a
chain that keeps its key. A duplicate is the same probe of the same unit firing twice with one key. Events without a
key pair with nothing.

The latency of a pair is from its earliest send to its earliest receive, whatever the order in which they become known;
a receive before its send, beyond the clock error, is acausal and in no quantile. A unit that receives a key before it
sends it is in the middle of a chain that began elsewhere, and no pair with itself.

Memory is bounded in paired keys: the last 65,536 to 131,072 are kept with all that is known of them, older ones as in
`closed_keys`. Keys that wait for their other half are all kept.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from runner.core.verifier.closed_keys import RECENT, ClosedKeys
from runner.model.result.clocks import Clocks
from runner.model.result.latency import Distribution
from runner.model.result.result import Latency, Pairs

SENT: Final = 1
RECEIVED: Final = 2
EXPLAINED: Final = 4
"""A circuit's path has the probe that fired: the circuit judges what should have followed."""
TWICE: Final = 8
ACAUSAL: Final = 16
"""Only in `Lone.state`: received before it was sent."""
_SITE_BITS: Final = 5
SITES: Final = 4096
"""So many probes of units have a bit of their own; of those beyond no duplicates are found."""
LISTED: Final = 10_000
"""Keys in each list of the result."""


class Pair:
    """What is known of one key: the flags above with a bit per site, the sites where it was more than once, its
    earliest send, its earliest receive and whose they were."""

    __slots__ = ("known", "received_by", "received_ns", "sent_by", "sent_ns", "twice")

    def __init__(self, known: int = 0) -> None:
        self.known = known
        self.twice = 0
        self.sent_ns: int | None = None
        self.received_ns: int | None = None
        self.sent_by = self.received_by = ""


class Lone(NamedTuple):
    """A key that is not as it should be, and where it fired: (unit, step) of each place; of one that was there twice
    those places, and of one that was received before it was sent those two, the receiver first."""

    key: str
    state: int
    sites: tuple[tuple[str, str], ...]
    lead_ns: int = 0
    """By how much it was received too early, and how exactly that is known."""
    error_ns: int = 0
    received_ns: int = 0
    """When that was."""


class PairBook:
    """All keys that were sent or received."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._young: dict[str, Pair] = {}
        self._old: dict[str, Pair] = {}
        self._waiting: dict[str, Pair] = {}
        self._forgotten = ClosedKeys()
        self._forgotten_times = Distribution()
        self._forgotten_acausal: list[Lone] = []
        self._forgotten_pairs = 0
        self._forgotten_twice: list[str] = []
        self._sites: list[tuple[str, str, int]] = []
        """(unit, step, flags) of each site."""

    def site(self, unit: str, step: str, flags: int) -> int:
        """What one event of this probe says of its key: `flags` and the bit of the place."""
        if len(self._sites) >= SITES:
            return flags
        self._sites.append((unit, step, flags))
        return flags | 1 << (_SITE_BITS + len(self._sites) - 1)

    def probes(self, flag: int) -> frozenset[tuple[str, str]]:
        """(unit, step) of every place that sent, or that received."""
        return frozenset((unit, step) for unit, step, flags in self._sites if flags & flag)

    def add(self, key: str, site: int, stamp_ns: int, unit: str) -> None:
        """An event of `unit` with `key` at a place, as `site` returned it."""
        pair = self._young.get(key)
        if pair is None:
            if len(self._young) >= RECENT:
                self._age()
            pair = self._young[key] = self._recall(key)
        known = pair.known
        if (known & site) >> _SITE_BITS:
            known |= TWICE
            pair.twice |= site
        pair.known = known | site
        if site & SENT:
            if pair.sent_ns is None or (stamp_ns, unit) < (pair.sent_ns, pair.sent_by):
                pair.sent_ns, pair.sent_by = stamp_ns, unit
        elif pair.received_ns is None or (stamp_ns, unit) < (pair.received_ns, pair.received_by):
            pair.received_ns, pair.received_by = stamp_ns, unit

    def _recall(self, key: str) -> Pair:
        for kept in (self._old, self._waiting):
            if key in kept:
                return kept.pop(key)
        mark = self._forgotten.value_of(key)
        if mark is None:
            return Pair()
        self._forgotten_pairs -= 1
        return Pair(SENT | RECEIVED | mark)

    def _age(self) -> None:
        for key, pair in self._old.items():
            known = pair.known
            if known & SENT and known & RECEIVED:
                self._forgotten.add(key, known & EXPLAINED)
                self._forgotten_pairs += 1
                if known & TWICE and len(self._forgotten_twice) < LISTED:
                    self._forgotten_twice.append(key)
                if (time := self._time(pair)) is not None:
                    self._forgotten_times.add(*time)
                if self._is_acausal(pair) and len(self._forgotten_acausal) < LISTED:
                    self._forgotten_acausal.append(self._acausal(key, pair))
            else:
                self._waiting[key] = pair
        self._old, self._young = self._young, {}

    def _time(self, pair: Pair) -> tuple[int, int] | None:
        """The latency and its error. None: one half is missing or was forgotten, or it is in the middle of a
        longer chain."""
        if pair.received_ns is None or pair.sent_ns is None:
            return None
        if pair.received_ns < pair.sent_ns and any(
            unit == pair.received_by and state & SENT for unit, _, state in self._places(pair.known)
        ):
            return None
        error_ns = self._clocks.error(pair.sent_by, pair.sent_ns, pair.received_by, pair.received_ns)
        return pair.received_ns - pair.sent_ns, error_ns

    def _is_acausal(self, pair: Pair) -> bool:
        """Received before it was sent, by more than the clocks of the two events may differ."""
        if pair.known & EXPLAINED or (time := self._time(pair)) is None:
            return False
        latency_ns, error_ns = time
        return latency_ns + error_ns < 0

    def _places(self, known: int) -> tuple[tuple[str, str, int], ...]:
        bits = known >> _SITE_BITS
        return tuple(site for i, site in enumerate(self._sites) if bits >> i & 1)

    def _lone(self, key: str, pair: Pair) -> Lone:
        return Lone(key, pair.known, tuple((unit, step) for unit, step, _ in self._places(pair.twice or pair.known)))

    def _acausal(self, key: str, pair: Pair) -> Lone:
        latency_ns, error_ns = self._time(pair) or (0, 0)
        places = self._places(pair.known)
        received, sent = (
            next(((unit, step) for unit, step, flags in places if unit == by and flags & flag), (by, "?"))
            for by, flag in ((pair.received_by, RECEIVED), (pair.sent_by, SENT))
        )
        return Lone(key, pair.known | ACAUSAL, (received, sent), -latency_ns, error_ns, pair.received_ns or 0)

    def _all(self) -> Iterator[tuple[str, Pair]]:
        return chain(self._young.items(), self._old.items(), self._waiting.items())

    def summary(self) -> Pairs:
        """What all keys come to, as of now."""
        both = SENT | RECEIVED
        return Pairs(
            paired=self._forgotten_pairs + sum(1 for _, pair in self._all() if pair.known & both == both),
            orphan_sends=self._keys(both, SENT),
            orphan_receives=self._keys(both, RECEIVED),
            duplicate_keys=tuple(sorted({*self._keys(TWICE, TWICE), *self._forgotten_twice}))[:LISTED],
            latency=self._latency(),
        )

    def _keys(self, flags: int, state: int) -> tuple[str, ...]:
        return tuple(sorted(key for key, pair in self._all() if pair.known & flags == state)[:LISTED])

    def _latency(self) -> Latency:
        times = self._forgotten_times.copy()
        for _, pair in self._all():
            if (time := self._time(pair)) is not None:
                times.add(*time)
        return times.summary()

    def unexplained(self, *, halves: bool = True) -> Iterator[Lone]:
        """Keys twice at one place, received before they were sent or, where `halves` are asked for, without their other
        half, that no circuit explains."""
        yield from self._forgotten_acausal
        for key, pair in self._all():
            lone = halves and pair.known & (SENT | RECEIVED) != SENT | RECEIVED
            if (lone or pair.known & TWICE) and not pair.known & EXPLAINED:
                yield self._lone(key, pair)
            elif self._is_acausal(pair):
                yield self._acausal(key, pair)
