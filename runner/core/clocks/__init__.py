"""Clocks: from bounds that units report to one timeline, on which stamps of all hosts can be compared.

What others use: `Timeline`, and what it tells people (`Estimate`). Pure: values in, values out; knows no time, sockets
or threads, and nothing of circuits.
"""

from runner.core.clocks.estimate import Estimate
from runner.core.clocks.timeline import Timeline

__all__ = ["Estimate", "Timeline"]
