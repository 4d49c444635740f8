"""Sends and receives matched by key over the whole run.

Belongs here: which keys were sent, received, both, or twice at the same place. Must not know circuits.

A key is paired when it was sent and received, by whomever: one send that many units receive is no duplicate, nor is a
chain that keeps its key. A duplicate is the same probe of the same unit firing twice with one key. Events without a
key pair with nothing.

The latency of a pair is from its earliest send to its earliest receive, whatever the order in which they become known;
a receive before its send, beyond the clock error, is acausal and in no quantile. A unit that receives a key before it
sends it is the middle of a journey that began elsewhere, and no pair with itself.

Memory is bounded in paired keys: the last 65,536 to 131,072 are kept with all that is known of them, older ones as in
`memory`. Keys that wait for their other half are all kept.
"""

from collections.abc import Callable, Iterator
from itertools import chain, product
from typing import Final, NamedTuple

from runner.verifier.latency import Distribution
from runner.verifier.memory import RECENT, Memory
from runner.verifier.verdict import Latency, Pairs

SENT: Final = 1
RECEIVED: Final = 2
EXPLAINED: Final = 4
"""A circuit's path has the probe that fired: the circuit judges what should have followed."""
TWICE: Final = 8
ACAUSAL: Final = 16
"""Only in `Lone.state`: received before it was sent."""
_SITE_BITS: Final = 5
SITES: Final = 4096
"""Probes of units told apart; those beyond have no duplicates."""
LISTED: Final = 10_000
"""Keys in each list of the result."""


class Pair:
    """What is known of one key: the flags above with a bit per site, its earliest send, its earliest receive and where
    that was."""

    __slots__ = ("known", "received_at", "received_ns", "sent_ns")

    def __init__(self, known: int = 0) -> None:
        self.known = known
        self.sent_ns: int | None = None
        self.received_ns: int | None = None
        self.received_at = 0


class Lone(NamedTuple):
    """A key that is not as it should be, and where it fired: (unit, step) of each place."""

    key: str
    state: int
    sites: tuple[tuple[str, str], ...]
    lead_ns: int = 0
    """By how much it was received too early."""


class PairBook:
    """All keys that were sent or received. `clock_error` is as for the verifier."""

    def __init__(self, clock_error: Callable[[str, str], int]) -> None:
        self._clock_error = clock_error
        self._young: dict[str, Pair] = {}
        self._old: dict[str, Pair] = {}
        self._waiting: dict[str, Pair] = {}
        self._forgotten = Memory()
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

    def add(self, key: str, site: int, stamp_ns: int) -> None:
        """An event with `key` at a place, as `site` returned it."""
        pair = self._young.get(key)
        if pair is None:
            if len(self._young) >= RECENT:
                self._age()
            pair = self._young[key] = self._recall(key)
        known = pair.known
        if (known & site) >> _SITE_BITS:
            known |= TWICE
        pair.known = known | site
        if site & SENT:
            if pair.sent_ns is None or stamp_ns < pair.sent_ns:
                pair.sent_ns = stamp_ns
        elif pair.received_ns is None or stamp_ns < pair.received_ns:
            pair.received_ns, pair.received_at = stamp_ns, site

    def _recall(self, key: str) -> Pair:
        for older in (self._old, self._waiting):
            if key in older:
                return older.pop(key)
        mark = self._forgotten.mark_of(key)
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
                if (latency_ns := self._latency_ns(pair)) is not None:
                    self._forgotten_times.add(latency_ns)
                if self._is_acausal(pair) and len(self._forgotten_acausal) < LISTED:
                    self._forgotten_acausal.append(self._lone(key, pair, ACAUSAL))
            else:
                self._waiting[key] = pair
        self._old, self._young = self._young, {}

    def _latency_ns(self, pair: Pair) -> int | None:
        """None: one half is missing or was forgotten, or it is the middle of a longer journey."""
        if pair.received_ns is None or pair.sent_ns is None:
            return None
        if pair.received_ns < pair.sent_ns:
            receivers = {unit for unit, _, _ in self._places(pair.received_at)}
            if any(unit in receivers and state & SENT for unit, _, state in self._places(pair.known)):
                return None
        return pair.received_ns - pair.sent_ns

    def _is_acausal(self, pair: Pair) -> bool:
        """Received before it was sent, by more than the clocks of any two of its places may differ."""
        latency_ns = self._latency_ns(pair)
        if latency_ns is None or latency_ns >= 0 or pair.known & EXPLAINED:
            return False
        units = {unit for unit, _, _ in self._places(pair.known)}
        return latency_ns < -max((self._clock_error(*two) for two in product(units, units)), default=0)

    def _places(self, known: int) -> tuple[tuple[str, str, int], ...]:
        bits = known >> _SITE_BITS
        return tuple(site for i, site in enumerate(self._sites) if bits >> i & 1)

    def _lone(self, key: str, pair: Pair, also: int = 0) -> Lone:
        sites = tuple((unit, step) for unit, step, _ in self._places(pair.known))
        return Lone(key, pair.known | also, sites, -(self._latency_ns(pair) or 0))

    def _all(self) -> Iterator[tuple[str, Pair]]:
        return chain(self._young.items(), self._old.items(), self._waiting.items())

    def summary(self) -> Pairs:
        """How the keys stand, as of now."""
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
            if (latency_ns := self._latency_ns(pair)) is not None:
                times.add(latency_ns)
        return times.summary()

    def unexplained(self) -> Iterator[Lone]:
        """Keys without their other half, twice at one place, or received before they were sent, that no circuit
        answers for."""
        yield from self._forgotten_acausal
        for key, pair in self._all():
            lone = pair.known & (SENT | RECEIVED) != SENT | RECEIVED
            if (lone or pair.known & TWICE) and not pair.known & EXPLAINED:
                yield self._lone(key, pair)
            elif self._is_acausal(pair):
                yield self._lone(key, pair, ACAUSAL)
