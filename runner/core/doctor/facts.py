"""What a machine has answered, as values.

Belongs here: the shapes that `examine` answers in, and what comes of a whole conversation. Must not know how it was
held, nor what is good or bad.
"""

from dataclasses import dataclass

import msgspec

from probe.keys import MAGIC


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to look at."""

    name: str
    """Its name in what users read."""
    ssh: str | None
    """Its destination as ssh takes it, `user@lab-2`; None: this machine."""
    python: str
    """The command that is Python there, as a shell there takes it."""


@dataclass(frozen=True, slots=True)
class Join:
    """A broker that the machine should be able to join."""

    host: str = ""
    """ "": only the keys are looked at."""
    port: int = 0
    keys: str = ""
    """A file of keys on that machine, or its text (`probe.keys`); "": none."""

    @property
    def endpoint(self) -> str:
        """As others write it."""
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    @property
    def keys_place(self) -> str:
        """Where the keys are; never the keys themselves."""
        return "CIRCUIT_KEYS" if self.keys.split()[:1] == [MAGIC] else self.keys


class FolderFacts(msgspec.Struct, frozen=True):
    """A folder in which files are to be made; it need not exist yet."""

    path: str
    why: str = ""
    """Why no file can be made there; "" where one can."""
    free_bytes: int = -1
    """-1: not known."""


class Facts(msgspec.Struct, frozen=True):
    """What does not change while it is looked at."""

    python: tuple[int, int, int]
    executable: str
    packages: dict[str, str]
    """Name -> version; "" where it is not installed."""
    libzmq: str
    """ "" where pyzmq cannot be imported."""
    curve: bool
    """Whether that libzmq was built with keys."""
    boot_id: str
    files_soft: int
    """How many files a process may have open; -1: no limit."""
    files_hard: int
    """Up to where it may raise that itself; -1: no limit."""
    work: FolderFacts
    tmp: FolderFacts
    seen_at: str
    """The address from which the login comes, as the machine sees it; "" without ssh."""


class Failure(msgspec.Struct, frozen=True):
    """Why a connection did not come about. `code` is the name of the error's number (ENAME: the name is not known);
    both are "" where it did."""

    code: str
    text: str


class WayBack(msgspec.Struct, frozen=True):
    """The way from that machine to this one."""

    reached: str
    """The address that it reached; "": none."""
    failures: tuple[Failure, ...]


class Joined(msgspec.Struct, frozen=True):
    """What came of an attempt to join a broker."""

    key: str
    """Name of the key in the file; "": no file was given or it could not be read."""
    keys_why: str
    """Why the file of keys is of no use, with the remedy; "" while it is."""
    events: tuple[tuple[int, int], ...]
    """What ZeroMQ's monitor said of the handshakes: event, value (`probe.handshake`)."""
    bus: bool
    """Whether what speaks to brokers is installed there; without it only a plain connection was tried."""
    tcp: Failure | None
    """What came of a plain connection, if one was tried."""


class ClockFacts(msgspec.Struct, frozen=True):
    """Both clocks of the machine, in nanoseconds."""

    monotonic_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question about the time: our stamps before and after (both clocks), and the other's between."""

    sent: ClockFacts
    there: ClockFacts
    received: ClockFacts

    @property
    def round_trip_ns(self) -> int:
        """How long it took, on our monotonic clock."""
        return self.received.monotonic_ns - self.sent.monotonic_ns


@dataclass(frozen=True, slots=True)
class CallbackAttempt:
    """What this machine held open for that one."""

    addresses: tuple[str, ...] = ()
    """Where; () when there was no address that it could have been."""
    port: int = 0
    why: str = ""
    """Why nothing could be held open."""
    came: bool = False
    """Whether a connection came with our token."""


@dataclass(frozen=True, slots=True)
class MachineAnswers:
    """Everything one machine answered."""

    facts: Facts
    took_ns: int
    """From the start of ssh to the first answer."""
    exchanges: tuple[Exchange, ...] = ()
    callback: CallbackAttempt | None = None
    back: WayBack | None = None
    joined: Joined | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """A machine that has not answered, or not to the end."""

    code: int | None
    """Exit code of ssh, or of the shell without it; None: it did not end in time, or could not be started."""
    said: tuple[str, ...]
    """Last lines of standard error."""
    waited_s: float = 0.0
    """How long nothing came, where that is why."""
    missing: str = ""
    """The program that is not on this machine."""
    begun: bool = False
    """Whether there had been answers before."""
