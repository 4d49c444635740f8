"""What the verifier knows of clocks: how exactly the stamps of two events can be compared.

Belongs here: the question, and the answer for a run on one host. Must not know where the answer comes from when there
are many hosts; that is the part that translates stamps onto one timeline.

An answer is for two stamps and never changes, whenever it is asked: a verdict does not depend on the order of arrival.
All times are integers in nanoseconds on the run's timeline.
"""

from typing import Final, Protocol


class Clocks(Protocol):
    """How far the stamps of two events may be off against each other. `UNKNOWN` (`result`) or more: nothing is known
    of how their clocks relate."""

    @property
    def one_clock(self) -> bool:
        """Whether all stamps so far are of one clock, so that every error is 0. May become False, never True again."""

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        """The error of the time between these two events of two units; the same in both directions. No more than that
        of each with a third one at the time of either, added up."""

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        """At least `error` of any two events of these units from `first_ns` to `last_ns`; cheap. 0 if all stamps of
        both are of one clock: hops that are exact then cost what they cost on one host."""


class OneClock:
    """Stamps of all units are from one clock."""

    @property
    def one_clock(self) -> bool:
        return True

    def error(self, unit: str, stamp_ns: int, other: str, other_stamp_ns: int) -> int:
        del unit, stamp_ns, other, other_stamp_ns
        return 0

    def worst(self, unit: str, other: str, first_ns: int, last_ns: int) -> int:
        del unit, other, first_ns, last_ns
        return 0


ONE_CLOCK: Final = OneClock()
