"""Clocks: from bounds that units report to one timeline, on which stamps of all hosts can be compared.

What others use: `Timeline`, what it tells people (`Estimate`), and the error of what nobody knows (`UNKNOWN`). Pure:
values in, values out; knows no time, sockets or threads, and nothing of circuits.
"""

from runner.clocks.estimate import Estimate
from runner.clocks.knots import FOREVER, UNKNOWN
from runner.clocks.timeline import Timeline

__all__ = ["Estimate", "FOREVER", "Timeline", "UNKNOWN"]  # noqa: RUF022 - in the order that a test wants
