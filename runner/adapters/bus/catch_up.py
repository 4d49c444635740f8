"""Reading up to where the log ended when a connection began; orders wait until that is done.

A broker that was restarted has logged some of the orders that were sent to the one before: the log shows which.
Belongs here: whether everything of that has been read. Must not know orders or sockets.
"""

from enum import Enum, auto


class _Phase(Enum):
    DONE = auto()
    END_UNKNOWN = auto()
    """The broker is still to say where its log ends."""
    READING = auto()


class CatchUp:
    """Done until the first connection on which something has to be caught up with."""

    def __init__(self) -> None:
        self._phase = _Phase.DONE
        self._end = 0
        """Byte of the log up to which to read, while READING."""

    @property
    def is_done(self) -> bool:
        return self._phase is _Phase.DONE

    def begin(self, *, is_needed: bool) -> None:
        """The broker has welcomed us on a new connection."""
        self._phase = _Phase.END_UNKNOWN if is_needed else _Phase.DONE

    def completed_by(self, offset: int, end: int) -> bool:
        """The log, which ends at `end`, has been read up to `offset`. Whether that completes the catching up."""
        if self._phase is _Phase.END_UNKNOWN:
            self._phase, self._end = _Phase.READING, end
        if self._phase is not _Phase.READING or offset < self._end:
            return False
        self._phase = _Phase.DONE
        return True
