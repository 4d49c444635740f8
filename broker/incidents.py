"""What peers did that they may not: "who: what" -> how often. Pure: words in, a table of bounded size out.

Belongs here: how a peer is named, and the bound. Must not know sockets, nor decide what is allowed.
"""

from collections import Counter
from typing import Final

MAX_ROWS: Final = 64
"""Rows with a name; what others did after that is counted without."""
OTHERS: Final = "others"
MAX_NAME: Final = 60
"""Longest name that is shown in full, in characters: the peer itself chooses it."""


def place(address: str) -> str:
    """Where a peer is, from what ZeroMQ says of a connection: "pid 4711" of this host, or the address."""
    host, _, identifiers = address.partition(":")
    if host == "localhost" and identifiers.count(":") == 2:
        return f"pid {identifiers.rpartition(':')[2] or '?'}"
    return address or "unknown peer"


def who(name: str, where: str, key: str | None = None) -> str:
    """A peer in words: the name of its unit (or its role), and what is known for sure: place, and name of the key."""
    known = f"{key} at {where}" if key else where
    return f"{_short(name)} ({known})" if name else known


def _short(name: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in name)
    return printable if len(printable) <= MAX_NAME else f"{printable[: MAX_NAME - 1]}…"


class Incidents:
    """The table. What is done is among a few fixed sentences, so strangers can fill the rows and nothing else."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()

    def count(self, name: str, what: str, times: int = 1) -> None:
        """`name` (see `who`) did it again."""
        row = f"{name}: {what}"
        known = row in self._rows or len(self._rows) < MAX_ROWS
        self._rows[row if known else f"{OTHERS}: {what}"] += times

    def merged(self, other: "Incidents") -> dict[str, int]:
        """This table and the other one as one, most frequent first, with the same bound."""
        both = self._rows + other._rows
        merged: Counter[str] = Counter()
        for row, times in both.most_common():
            merged[row if len(merged) < MAX_ROWS else f"{OTHERS}: {row.rpartition(': ')[2]}"] += times
        return dict(merged.most_common())
