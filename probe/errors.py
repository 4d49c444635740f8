"""The error tree of the package `probe`. Everything a unit may have to catch stands here.

    ProbeError
    ├── WireError            bytes that are not a message of this protocol (the peer's fault)
    ├── FolderError          there is no place for a folder that no other user can get at
    ├── JournalError         a journal file that cannot be opened or is not one
    ├── KeysError            keys that cannot be read, are none, or lie open to others
    ├── BarrierBroken        a party died, was stopped, or never came; `.who` names it
    │   └── BarrierTimeout   the time the caller gave is over; `.who` names those that are missing
    ├── WaitBroken           the awaited probe will never fire: its unit has ended
    └── WaitTimeout          the awaited probe did not fire in the time the caller gave

The probes (`emit` and others) raise none of these: a probe never hurts its host program.
"""

import sys
from collections.abc import Sequence

from probe import handlers


class ProbeError(Exception):
    """Root of every error that this package raises on purpose."""


class WireError(ProbeError):
    """A frame that does not parse. `word` is the type of the message as far as it could be read, else ""."""

    def __init__(self, message: str, *, word: str = "") -> None:
        super().__init__(message)
        self.word = word


class FolderError(ProbeError):
    """A private folder that cannot be had; the message says why and what to do."""


class JournalError(ProbeError):
    """A journal that cannot be created, opened or read; the message names the path and what to do."""


class KeysError(ProbeError):
    """What CIRCUIT_KEYS names cannot be used; the message names the file and what to do."""


class BarrierBroken(ProbeError):
    """The barrier will never open. `barrier` is its name, `who` the units to blame, `why` what became of them."""

    def __init__(self, barrier: str, who: Sequence[str], why: str) -> None:
        super().__init__(f"barrier {barrier!r} is broken: {', '.join(who) or 'the run'} {why}")
        self.barrier = barrier
        self.who = tuple(who)
        self.why = why


class BarrierTimeout(BarrierBroken):
    """Not every party arrived within the caller's timeout; `who` names the missing ones."""


class WaitBroken(ProbeError):
    """`wait` will never succeed. `probe` is what it waited for ("unit: step"), `who` the units to blame."""

    def __init__(self, probe: str, key: str | None, who: Sequence[str], why: str) -> None:
        keyed = f" with key {key!r}" if key is not None else ""
        super().__init__(f"{probe!r}{keyed} will not fire: {', '.join(who) or 'the run'} {why}")
        self.probe = probe
        self.key = key
        self.who = tuple(who)
        self.why = why


class WaitTimeout(ProbeError):
    """`wait` gave up. `probe` is what it waited for ("unit: step"), `timeout_s` how long."""

    def __init__(self, probe: str, key: str | None, timeout_s: float) -> None:
        keyed = f" with key {key!r}" if key is not None else ""
        super().__init__(f"{probe!r}{keyed} did not fire within {timeout_s:g} s")
        self.probe = probe
        self.key = key
        self.timeout_s = timeout_s


def warn(text: str) -> None:
    """One line on standard error, for what is wrong where nothing may be raised. Raises nothing of its own."""
    try:
        from probe.plain import harmless  # only needed where there is something to complain about

        print(f"probe: {harmless(text)}", file=sys.stderr, flush=True)  # noqa: T201
    except Exception as error:
        if handlers.raised(error):
            raise
