"""Quotas: how much of a shared broker one key may have, and what each has at the moment.

A quota never costs evidence. What comes faster than it may is taken later: its acknowledgement waits, and so does its
sender, with everything in its journal. What would be too much at a time is refused, with a sentence that says which
quota, what was found and what to do. A peer without a key (a private `ipc://` endpoint, `--insecure`) has no quota.

Pure: numbers and moments in, decisions out. Must not know sockets, runs or messages.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

BURST_S: Final = 4.0
"""For so long at once a key may bring what its quota allows: a journal that was full when the broker came back."""
DEBT_S: Final = 1.0
"""So much more is taken before messages are left lying, which are sent again."""
LEAST_DEBT_S: Final = 2.0
"""A larger debt is cut to this: one message that lies about its size would shut a key out for ever."""
_SIZE: Final = re.compile(r"(\d{1,18})(KiB|MiB|GiB|TiB)?", re.ASCII)
_SCALES: Final = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Quotas:
    """Of each key, unless it says something else. A normal lab meets none of them: a thousand units that emit a hundred
    events a second each bring 100,000 events and some 10 MiB."""

    events: int = 250_000
    """Events in a second."""
    bytes: int = 64 << 20
    """Bytes in a second, of whatever stands in a log."""
    runs: int = 256
    """Runs that it has opened, and that a peer takes part in or did so in the last minute."""
    readers: int = 16
    """Watchers that fetch; its runners may be as many as its runs."""
    connections: int = 8192
    """Connections that have said HELLO."""
    hello: int = 32 << 10
    """Bytes of one HELLO, whatever key it comes with."""
    run_bytes: int = 1 << 40
    """Bytes of the log of one run, of all keys."""


USUAL: Final = Quotas()
NAMES: Final = tuple(field.name.replace("_", "-") for field in fields(Quotas))


def parsed(words: Iterable[str]) -> Quotas:
    """What `events=1000` and the like say. Raises ValueError with a sentence."""
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        match = _SIZE.fullmatch(value)
        if name not in NAMES or match is None or not int(match[1]):
            raise ValueError(
                f"{word[:80]!r} is no quota; write NAME=NUMBER as in events=100000 or run-bytes=10GiB; "
                f"names: {', '.join(NAMES)}"
            )
        found[name.replace("-", "_")] = int(match[1]) * _SCALES[match[2]]
    return replace(USUAL, **found)


def fitted(quotas: Quotas, room: int, logs: int, expected: int = 0) -> Quotas:
    """The same for a broker that has room for so many connections and open logs: a quarter of the connections is for
    others, unless so many peers are `expected`, and half of the logs."""
    return replace(
        quotas,
        connections=max(1, min(quotas.connections, max(room * 3 // 4, expected))),
        runs=max(1, min(quotas.runs, logs // 2)),
    )


class Share:
    """What one key has at the moment. Its connections, runs and readers are counted by those that let them in and
    out."""

    def __init__(self, key: str, quotas: Quotas, now_s: float) -> None:
        self.key = key
        """Its name."""
        self.quotas = quotas
        self.connections = self.runs = self.readers = 0
        self.is_shut = False
        """Whether what it brings is left lying: since its debt was too large, until that is paid."""
        self.in_debt = False
        """Whether `owes` has to be asked before it is answered."""
        self._was_over = False
        self._events = self._most_events = BURST_S * quotas.events
        self._bytes = self._most_bytes = BURST_S * quotas.bytes
        self._at_s = now_s
        """When what has become free since was last added."""
        self._next_turn_s = 0.0

    def spend(self, events: int, size: int) -> bool:
        """It has brought so much. Whether it may be over its quota: `owes` knows."""
        self._events -= events
        self._bytes -= size
        if self._events < 0 or self._bytes < 0:
            self.in_debt = True
        return self.in_debt

    def owes(self, now_s: float) -> bool:
        """Whether it has brought more than it may by now, and waits for its acknowledgements."""
        quotas, passed_s = self.quotas, now_s - self._at_s
        self._at_s = now_s
        self._events = _moved(self._events + passed_s * quotas.events, self._most_events, quotas.events)
        self._bytes = _moved(self._bytes + passed_s * quotas.bytes, self._most_bytes, quotas.bytes)
        if self._events >= 0 and self._bytes >= 0:
            self.is_shut = self.in_debt = self._was_over = False
            return False
        if self._events < -DEBT_S * quotas.events or self._bytes < -DEBT_S * quotas.bytes:
            self.is_shut = True
        return True

    def is_news(self) -> bool:
        """Whether it was not over its quota the last time that this was asked."""
        news, self._was_over = not self._was_over, True
        return news

    def is_exhausted(self, now_s: float) -> bool:
        """Whether not even that is taken any more which cannot be sent again."""
        return self.in_debt and self.owes(now_s) and self._bytes <= -(DEBT_S + LEAST_DEBT_S) / 2 * self.quotas.bytes

    def has_turn(self, now_s: float, size: int) -> bool:
        """Whether one more of those who were left lying, and now send up to `size` bytes again, may do so: one after
        another, as fast as the quota allows, and all at once when most of it is free."""
        if now_s < self._next_turn_s and self._bytes < self._most_bytes / 2:
            return False
        self._next_turn_s = now_s + size / self.quotas.bytes
        return True

    # --- why not, in words ---

    def why_over(self) -> str:
        """What is said to whom the rate is too high."""
        if self._events < self._bytes * self.quotas.events / self.quotas.bytes:
            which, most = "events", f"{self.quotas.events:,} events"
        else:
            which, most = "bytes", f"{self.quotas.bytes:,} bytes"
        return (
            f"the key {self.key!r} has brought more than {most} a second, its quota, for {BURST_S:g} s; what is over "
            f"is taken later, and not lost; emit less, or have the broker started with --quota {which}=N"
        )

    def why_no_connection(self) -> str:
        """Why it may not connect once more; "": it may."""
        return self._why_not("connections", self.connections, "connections", "close some")

    def why_no_run(self) -> str:
        """Why it may not open one more run; "": it may."""
        return self._why_not("runs", self.runs, "runs open", "end some, and wait a minute")

    def why_no_reader(self, *, runner: bool) -> str:
        """Why no more readers may fetch with it; "": one may."""
        if runner and self.readers < self.quotas.readers + self.quotas.runs:
            return ""
        return self._why_not("readers", self.readers, "readers that fetch", "close some")

    def _why_not(self, which: str, found: int, what: str, remedy: str) -> str:
        most: int = getattr(self.quotas, which)
        if found < most:
            return ""
        return (
            f"the key {self.key!r} has {found} {what} here, and its quota is {most}; {remedy}, or have the broker "
            f"started with --quota {which}=N"
        )


class Shares:
    """Those of all keys that have ever come, by the name of the lasting key behind each."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._shares: dict[str, Share] = {}

    def of(self, key: str, now_s: float) -> Share:
        """That of `key`."""
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share(key, self.quotas, now_s)
        return share


def _moved(left: float, most: float, rate: int) -> float:
    """So much is left, within its bounds."""
    return max(-LEAST_DEBT_S * rate, min(most, left))
