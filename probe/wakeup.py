"""A signal that any thread may set, and that one thread waits for beside its sockets.

Belongs here: descriptors. Must not know what the thread does when it is awake.
"""

import os

from probe import handlers
from probe.descriptor import Descriptor
from probe.native import read, write


class Wakeup:
    """Wakes a thread that sleeps in a poll; a descriptor, because that is what ZeroMQ can wait for beside sockets.

    On Linux a pipe that is opened for both, so that the thread sleeps on when the program closes all descriptors; and
    of which it can be found out whether it is still the same, as of an eventfd it cannot.
    """

    def __init__(self) -> None:
        reader, writer = os.pipe()
        with handlers.suppressed(OSError):  # no /proc
            both = os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_CLOEXEC)
            os.close(reader)
            os.close(writer)
            reader = writer = both
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        self._reader, self._writer = Descriptor(reader), Descriptor(writer)

    @property
    def fd(self) -> int:
        """What the thread waits for."""
        return self._reader.fd

    @property
    def is_ours(self) -> bool:
        """Whether it can be set and seen; not where the program has closed all descriptors."""
        return self._reader.is_ours and self._writer.is_ours

    def set(self) -> None:
        """Wake the thread. Never blocks, and raises nothing of its own."""
        if self._writer.is_ours:
            try:
                write(self._writer.fd, b"\1")
            except OSError as error:  # it is set already, or the thread has ended
                if handlers.raised(error):
                    raise

    def clear(self) -> None:
        """Until it is set again, the thread may sleep."""
        try:
            read(self._reader.fd, 4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
