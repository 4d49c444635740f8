"""Messages: the application's own, as measurements: what was received was sent before.

Belongs here: finding the two ends of a message by its key. Must not know offsets.
"""

from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 65_536
"""So many of the newest keys are remembered."""


@dataclass(slots=True)
class Message:
    """A key that was sent or received. Clocks are boot ids, stamps those of their hosts."""

    sender: str = ""
    sent_ns: int = 0
    receiver: str = ""
    received_ns: int = 0
    sends: int = 0
    receives: int = 0

    @property
    def clear(self) -> bool:
        """Whether it is known which sending belongs to which receiving."""
        return self.sends == self.receives == 1


class Messages:
    """The newest keys, and what became of them."""

    def __init__(self) -> None:
        self._known: dict[str, Message] = {}

    def sent(self, key: str, clock: str, stamp_ns: int) -> Message | None:
        """`key` was sent. Returns the message if that makes it complete. It may turn out later that it is not
        `clear`."""
        message = self._of(key)
        message.sends += 1
        message.sender, message.sent_ns = clock, stamp_ns
        return message if message.clear else None

    def received(self, key: str, clock: str, stamp_ns: int) -> Message | None:
        """The same for a receiving."""
        message = self._of(key)
        message.receives += 1
        message.receiver, message.received_ns = clock, stamp_ns
        return message if message.clear else None

    def _of(self, key: str) -> Message:
        message = self._known.get(key)
        if message is None:
            message = self._known[key] = Message()
            if len(self._known) > MAX_KEYS:
                del self._known[next(iter(self._known))]
        return message
