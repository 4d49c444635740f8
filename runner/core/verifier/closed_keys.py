"""What is remembered of many keys, in bounded memory.

Belongs here: the last few thousand keys with a value each; and keys whose instances are over with a small value each,
exact for the recent ones and by fingerprint for older ones. Must not know what the values mean.
"""

from array import array
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

ValueT = TypeVar("ValueT")

RECENT: Final = 65_536
"""The last 65,536 to 131,072 keys are remembered exactly."""
FINGERPRINTS: Final = 1 << 20
"""Older ones by a fingerprint each, in a table of this many places (8 MiB) where a newer key may take an older
one's."""

_VALUES: Final = 7
_HASH: Final = 0xFFFF_FFFF_FFFF_FFFF ^ _VALUES


class ClosedKeys:
    """Keys with a value from 0 to 7.

    A key that has been forgotten is taken for a new one. The last 65,536 keys are never forgotten; of a key that n
    others followed, the chance to be remembered is about e**-(n / 1,048,576). Two keys are confused about once in
    2**61.
    """

    __slots__ = ("_old", "_table", "_young")

    def __init__(self) -> None:
        self._young: dict[str | None, int] = {}
        self._old: dict[str | None, int] = {}
        self._table: array[int] | None = None

    def add(self, key: str | None, value: int) -> None:
        """Remember `key`; its value is replaced if it is known."""
        self._young[key] = value
        if len(self._young) >= RECENT:
            self._age()

    def add_all(self, keys: Iterable[str | None], value: int) -> None:
        """Remember all of `keys` with the same value."""
        self._young.update(dict.fromkeys(keys, value))
        if len(self._young) >= RECENT:
            self._age()

    def value_of(self, key: str | None) -> int | None:
        """The value of `key`; None: not remembered."""
        if key in self._young:
            return self._young[key]
        if key in self._old:
            return self._old[key]
        if self._table is not None:
            hashed = hash(key) & _HASH
            found = self._table[(hashed >> 3) % FINGERPRINTS]
            if found & _HASH == hashed and found:
                return found & _VALUES
        return None

    def _age(self) -> None:
        if self._old:
            if self._table is None:
                self._table = array("Q", bytes(8 * FINGERPRINTS))
            table = self._table
            for key, value in self._old.items():
                hashed = hash(key) & _HASH
                table[(hashed >> 3) % FINGERPRINTS] = hashed | value
        self._old, self._young = self._young, {}


class Recent(Generic[ValueT]):
    """The last keys, at least `least` and less than twice as many, each with its latest value."""

    __slots__ = ("_least", "_old", "_young")

    def __init__(self, least: int) -> None:
        self._least = least
        self._young: dict[str | None, ValueT] = {}
        self._old: dict[str | None, ValueT] = {}

    def add(self, key: str | None, value: ValueT) -> None:
        self._young[key] = value
        self._age()

    def add_all(self, found: Iterable[tuple[str | None, ValueT]]) -> None:
        self._young.update(found)
        self._age()

    def get(self, key: str | None) -> ValueT | None:
        return self._young.get(key, self._old.get(key))

    def _age(self) -> None:
        if len(self._young) >= self._least:
            self._old, self._young = self._young, {}
