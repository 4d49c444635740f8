"""Sampling: what exchanges of PING and PONG say about the offset of two clocks, reduced to what is worth saying.

The offset is the clock of this host minus that of the broker. Every exchange gives a lower and an upper bound of it
(F. Cristian, "Probabilistic clock synchronization", 1989), each a fact of its own, however long the way was. A bound
ages by the drift, before its moment as well as after it; one that another one makes superfluous need not be reported
(the idea of the convex hull of A. Duda et al., "Estimating global time in distributed systems", 1987).

Pure: values in, values out. Must not know sockets, threads or clocks.
"""

from collections.abc import Iterable

from probe.clock import drift_ns

Bound = tuple[int, int]
"""(moment of this host's clock, bound of the offset at that moment), in nanoseconds."""


class Sampler:
    """Gathers exchanges, and says now and then what they amount to."""

    def __init__(self) -> None:
        self._low: list[Bound] = []
        self._high: list[Bound] = []
        self._rtt_ns: int | None = None
        self._reported_ns = 0
        """Nothing that is said from now on is about a moment up to this one."""

    def __len__(self) -> int:
        """How many exchanges the next report is made of."""
        return len(self._high)

    def add(self, sent_ns: int, received_ns: int, answered_ns: int, returned_ns: int) -> None:
        """One exchange: sent and returned by this host's clock, received and answered by the other one's."""
        low = sent_ns - received_ns
        if sent_ns > self._reported_ns:
            self._low.append((sent_ns, low))
        else:  # a report has gone out meanwhile; the bound holds at a later moment too, a little less sharp
            later_ns = self._reported_ns + 1
            self._low.append((later_ns, low - drift_ns(later_ns - sent_ns)))
        self._high.append((returned_ns, returned_ns - answered_ns))
        rtt_ns = max(0, returned_ns - sent_ns - (answered_ns - received_ns))
        self._rtt_ns = rtt_ns if self._rtt_ns is None else min(rtt_ns, self._rtt_ns)

    def report(self) -> dict[str, object]:
        """What was added since the last report, as the data of a `clock` record (docs/wire.md)."""
        report: dict[str, object] = {
            "low": [list(bound) for bound in undominated(self._low)],
            "high": [[moment, -bound] for moment, bound in undominated((at, -bound) for at, bound in self._high)],
        }
        if self._rtt_ns is not None:
            report["rtt_ns"] = self._rtt_ns
        self._low, self._high, self._rtt_ns = [], [], None
        return report

    def reported(self, stamp_ns: int) -> None:
        """The last report is there, with a stamp that is not later than this."""
        self._reported_ns = max(self._reported_ns, stamp_ns)


def undominated(bounds: Iterable[Bound]) -> list[Bound]:
    """Those lower bounds that no other one, aged, makes superfluous; by moment."""
    left = sorted(set(bounds))
    for _ in range(2):  # what an earlier one makes superfluous, then what a later one does
        kept: list[Bound] = []
        for moment, bound in left:
            if not kept or kept[-1][1] - drift_ns(moment - kept[-1][0]) < bound:
                kept.append((moment, bound))
        left = kept[::-1]
    return left
