"""The error tree of the package `broker`. Each message is one line for a person: the thing, what was found, the remedy.

BrokerError
├── EndpointError    an address that makes no sense, is taken, or may not be opened
├── KeyringError     a keyring that is not there, lies open to others, is damaged, or cannot be changed so
├── NoRoom           a run that may not go on, or not begin: its disk is full, or its log too long
├── OverQuota        a key has of the broker what its quota allows already
└── LogError         a log that cannot be opened, written or read; `.offset` says where, `.torn` whether only the
                     last entry is incomplete
    └── DiskFull     its disk has no room left
"""

import sys
from typing import Final

from probe.plain import harmless

FULL: Final = 5
"""Exit code of a broker that gave up because there is no room for a log."""


class BrokerError(Exception):
    """Root of every error that this package raises on purpose."""


class EndpointError(BrokerError):
    """The broker cannot listen there."""


class NoRoom(BrokerError):
    """There is no room for the run; the message names the disk and the folder, or the quota."""


class OverQuota(BrokerError):
    """A key may not have more of the broker; the message names the quota."""


class KeyringError(BrokerError):
    """The keyring cannot be used, or not be changed in this way; the message names the file, and a damaged line."""


class LogError(BrokerError):
    """The log at byte `offset` is not what it should be. `torn`: everything before is whole, the rest was never
    completely written; that is what a crash leaves and no damage."""

    def __init__(self, message: str, *, offset: int = 0, torn: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.torn = torn


class LogDiskFull(LogError):
    """There is no room for the log; the message names the disk."""


def complain(text: str) -> None:
    """A line on standard error, with nothing in it that a terminal would obey."""
    sys.stderr.write(f"{harmless(text)}\n")
    sys.stderr.flush()
