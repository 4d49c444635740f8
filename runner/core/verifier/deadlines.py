"""When to look again at what is still open.

Belongs here: queues of open instances by deadline, cheap for a million of them. Must not know what an instance is.

Instances are queued in lists with one due time each, the earliest that any of them can be overdue; nothing is sorted
per instance. An instance stays in its list after it closed and is dropped when the list comes up, or earlier when
closed ones are the greater part of all that is queued.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

Item = TypeVar("Item")

SLACK = 65_536
"""Closed instances that may stay queued beyond as many as are open."""


class Deadlines(Generic[Item]):
    """One queue for each of `places` path elements. `is_open`: whether an item still waits."""

    def __init__(self, places: int, is_open: Callable[[Item], bool]) -> None:
        self._heaps: list[list[tuple[int, int, list[Item]]]] = [[] for _ in range(places)]
        self._is_open = is_open
        self._serial = 0
        self._size = 0
        self._sweep_at = SLACK

    def push(self, due_ns: int, place: int, items: list[Item]) -> None:
        """Queue `items`, of which none is overdue before `due_ns`; they wait for `place`."""
        self._serial += 1  # no two entries compare their lists
        heappush(self._heaps[place], (due_ns, self._serial, items))
        self._size += len(items)
        if self._size > self._sweep_at:
            self._sweep()

    def due(self, horizons: Sequence[float], most: int) -> list[Item]:
        """Takes out and returns the open items whose due time has passed at their place's horizon, at most so many."""
        found: list[Item] = []
        for place, heap in enumerate(self._heaps):
            while len(found) < most and heap and heap[0][0] <= horizons[place]:
                due_ns, serial, items = heap[0]
                room = most - len(found)
                if len(items) > room:
                    heap[0] = due_ns, serial, items[room:]
                    items = items[:room]
                else:
                    heappop(heap)
                self._size -= len(items)
                found += filter(self._is_open, items)
        return found

    def __bool__(self) -> bool:
        return self._size > 0

    def next_ns(self) -> int | None:
        """The earliest due time of an open item."""
        return min((heap[0][0] for heap in self._heaps if self._trim(heap)), default=None)

    def waiting(self, until_ns: int) -> Iterator[tuple[int, int]]:
        """(due time, place) of what is due by `until_ns`, the latest for each place."""
        for place, heap in enumerate(self._heaps):
            if self._trim(heap) and heap[0][0] <= until_ns:
                yield max(entry[0] for entry in heap if entry[0] <= until_ns), place

    def _trim(self, heap: list[tuple[int, int, list[Item]]]) -> bool:
        """Drops what is closed from the front; returns whether anything is left."""
        while heap:
            items = heap[0][2]
            while items and not self._is_open(items[-1]):
                items.pop()
                self._size -= 1
            if items:
                return True
            heappop(heap)
        return False

    def _sweep(self) -> None:
        self._size = 0
        for place, heap in enumerate(self._heaps):
            kept = [(due, serial, [i for i in items if self._is_open(i)]) for due, serial, items in heap]
            self._heaps[place] = [entry for entry in kept if entry[2]]
            heapify(self._heaps[place])
            self._size += sum(len(entry[2]) for entry in self._heaps[place])
        self._sweep_at = 2 * self._size + SLACK
