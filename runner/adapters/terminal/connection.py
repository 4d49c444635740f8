"""What is wrong between a reader and the broker, in two words.

Belongs here: that. Must not know layout.
"""

from typing import Final

from runner.adapters.terminal.snapshot import Snapshot

_SILENT_S: Final = 3.0

"""A broker that is asked every second and says nothing for so long does not answer."""


def connection(snapshot: Snapshot) -> str:
    """What is wrong between us and the broker, in two words; nothing if nothing is."""
    if not snapshot.connected:
        return "no connection"
    return "no answer" if snapshot.silent_s >= _SILENT_S else ""
