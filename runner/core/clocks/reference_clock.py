"""The reference clock: the one on which the timeline is.

Belongs here: what is true of it by definition. It offers what a `RemoteClock` offers, so that a clock is never absent.
"""

from collections.abc import Sequence
from typing import Final

from runner.core.clocks.clock_map import FOREVER


class ReferenceClock:
    """The broker's clock. Its stamps are on the timeline as they are."""

    is_known: Final = True
    known_ns: Final = FOREVER

    def to_common(self, stamps: Sequence[int]) -> list[int]:
        """Its stamps on the timeline."""
        return list(stamps)

    def to_host(self, common_ns: int) -> int:
        """What it shows at a moment of the timeline."""
        return common_ns

    def worst_ns(self, first_ns: int, last_ns: int) -> int:
        """The largest error between two moments of the timeline."""
        del first_ns, last_ns
        return 0

    def offset_at(self, common_ns: int, unsure_ns: int) -> tuple[int, int, int]:
        """Low, value and high of its offset at a moment of the timeline that is known to within `unsure_ns`."""
        del common_ns, unsure_ns
        return 0, 0, 0
