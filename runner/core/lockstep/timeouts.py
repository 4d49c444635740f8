"""Timeouts: items by the moment at which each is out of time.

Belongs here: that queue, cheap however many items are in it and however many leave it before their time. Must not know
what an item is, nor read a clock.
"""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

SLACK: Final = 1024
"""Items that have left and may stay queued, beyond as many as are still there."""


class Timeouts(Generic[Item]):
    """Each item has one moment, in nanoseconds."""

    def __init__(self) -> None:
        self._due: dict[Item, int] = {}
        self._heap: list[tuple[int, int, Item]] = []
        """(moment, serial number, item); what is not in `_due` with that moment has left."""
        self._serial = 0

    def put(self, item: Item, due_ns: int) -> None:
        """`item` is out of time at `due_ns`, whatever was set before."""
        self._due[item] = due_ns
        self._serial += 1  # no two entries compare their items
        heappush(self._heap, (due_ns, self._serial, item))
        if len(self._heap) > 2 * len(self._due) + SLACK:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def drop(self, item: Item) -> None:
        """It has no moment any more. Harmless when it is not there."""
        self._due.pop(item, None)

    def take_due(self, now_ns: int) -> list[Item]:
        """Takes out what is out of time at `now_ns`, in the order of moments."""
        due = []
        while (next_ns := self.next_ns) is not None and next_ns <= now_ns:
            item = heappop(self._heap)[2]
            del self._due[item]
            due.append(item)
        return due

    @property
    def next_ns(self) -> int | None:
        """The first moment at which something is out of time; None: there is nothing."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
