"""A bell that any thread may ring, and one thread waits for beside its sockets.

Belongs here: descriptors. Must not know what the thread does when it is awake.
"""

import os

from probe.native import read, write


class Alarm:
    """Wakes a thread that sleeps in a poll; a descriptor, because that is what ZeroMQ can wait for beside sockets."""

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._other = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.fd, self._other = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._other, False)

    def ring(self) -> None:
        """Wake the thread. Never blocks and never raises."""
        try:
            write(self._other, b"\1\0\0\0\0\0\0\0")
        except OSError:  # it rings already, or there is nobody to wake any more
            return

    def hush(self) -> None:
        """Stop ringing."""
        try:
            read(self.fd, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        fds = {self.fd, self._other}
        self.fd = self._other = -1
        for fd in fds:
            os.close(fd)
