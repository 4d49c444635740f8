"""Replies: how the answer to an ask gets from the sender's thread to the caller that waits for it.

Belongs here: waiting in a thread, and among greenlets. Must not know what is asked, nor what an answer means.
"""

import sys
from typing import Any, Final

from probe import handlers
from probe.clock import monotonic
from probe.message import Order
from probe.native import Latch, allocate_lock, may_be_main_thread, write

LOOK_UP_S: Final = 0.2
"""A signal that comes in the instant before the main thread blocks on a lock does not wake it; so often it looks for
one."""


class Reply:
    """One order, given by any thread, awaited by the one that made this; `close` it afterwards.

    It blocks its caller's thread. Where a library has put sockets into the program that let other greenlets run
    (gevent, eventlet), the caller waits at one of those, and blocks its greenlet alone.
    """

    def __init__(self) -> None:
        self.order: Order | None = None
        """The first that was given."""
        self._came = Latch()
        self._guard = allocate_lock()
        """Held while the sockets are written to, or closed."""
        self._sockets = _cooperative_pair()

    def give(self, order: Order) -> None:
        """From any thread."""
        with self._guard:
            if self.order is None:
                self.order = order
                self._came.open()
                if self._sockets:
                    write(self._sockets[1].fileno(), b"\0")

    def wait(self, timeout_s: float | None) -> Order | None:
        """Block until an order is there, or for so long; None: there is none."""
        if self._sockets:
            return self._wait_among_greenlets(timeout_s)
        if not may_be_main_thread():  # signals are the main thread's
            self._came.wait(timeout_s)
            return self.order
        deadline_s = None if timeout_s is None else monotonic() + timeout_s
        left_s = LOOK_UP_S
        while left_s > 0 and not self._came.wait(min(left_s, LOOK_UP_S)):
            left_s = LOOK_UP_S if deadline_s is None else deadline_s - monotonic()
        return self.order

    def _wait_among_greenlets(self, timeout_s: float | None) -> Order | None:
        reader, _ = self._sockets
        reader.settimeout(timeout_s)
        with handlers.suppressed(TimeoutError):
            reader.recv(1)
        return self.order

    def close(self) -> None:
        """Nothing waits any more."""
        with self._guard:
            sockets, self._sockets = self._sockets, ()
            for socket in sockets:
                socket.close()


def _cooperative_pair() -> tuple[Any, ...]:
    """Two connected sockets of which reading lets other greenlets run; () in a program without such."""
    socket = sys.modules.get("socket")
    if socket is None:
        return ()
    from _socket import socket as system_socket  # what `socket.socket` is made of, unless it was replaced

    if issubclass(socket.socket, system_socket):
        return ()
    try:
        one, other = socket.socketpair()
    except (
        Exception
    ) as error:  # no descriptor is left, or these sockets are of another kind: better a thread that is blocked
        if handlers.raised(error):
            raise
        return ()
    return one, other
