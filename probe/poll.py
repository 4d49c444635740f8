"""Waiting at ZeroMQ's sockets, whatever has been done to the clocks of the program.

pyzmq reads `time.monotonic` in every poll, under a name that freezegun exchanges; a date behind 2038 does not fit into
what it reads it into. ZeroMQ reads the clock of the process in every poll that ends by itself: one that stands still,
as a preloaded library may have it, never ends. Belongs here: a poll that is none the worse for it. Must not know what
the sockets are for.
"""

import select
import sys
from typing import Any, Final

import zmq

from probe.clock import PRELOADED, monotonic
from probe.native import untouched

_system: Final = untouched(select)
"""Where sockets have become greenlets', the one that all have lacks `poll` or waits for greenlets."""
_READ_A_CLOCK: Final = ("zmq.backend.cython._zmq", "zmq.backend.cffi._poll")


class Poller(zmq.Poller):
    """Polls for what can be read."""

    def poll(self, timeout: int | None = None) -> list[tuple[Any, int]]:
        """As `zmq.Poller.poll`: up to `timeout` milliseconds, None is for ever."""
        if PRELOADED and timeout:
            if ready := self._once(0):
                return ready
            system = _system.poll()
            for socket, _ in self.sockets:
                system.register(socket if isinstance(socket, int) else socket.fd, _system.POLLIN)
            system.poll(timeout)
            return self._once(0)
        return self._once(timeout)

    def _once(self, timeout: int | None) -> list[tuple[Any, int]]:
        try:
            return super().poll(timeout)
        except zmq.ZMQError:
            raise
        except Exception:  # whatever a clock does that a test has made
            _give_it_a_clock()
            return super().poll(timeout)


def _give_it_a_clock() -> None:
    """pyzmq reads a clock from now on that is not found by libraries that exchange clocks."""
    for name in _READ_A_CLOCK:
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "monotonic"):
            module.monotonic = monotonic  # type: ignore[attr-defined]
