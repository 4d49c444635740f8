"""Every message that travels on the bus, one dataclass each; the word on the wire is the class name in capitals.

Belongs here: messages, commands and their field meanings. Must not know bytes (that is `wire`) or sockets.
"""

import typing
from dataclasses import dataclass, field
from typing import TypeAlias

VERSION: typing.Final = 1
"""Version of the protocol; docs/wire.md carries the same number."""

ROLES: typing.Final = ("unit", "agent", "runner", "watcher")
"""Who a peer can be. A supervisor is an `agent`; a `watcher` only reads."""


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of every connection and again after every reconnect: who the peer is. An agent that leaves `run`
    empty takes part in none: it is there to be invited (`Invite`)."""

    version: int
    role: str
    run: str
    unit: str = ""
    incarnation: int = 0
    host: str = ""
    """Boot id of the peer's host: stamps of one boot id can be compared."""
    pid: int = 0
    sdk: str = ""
    waiting: tuple[str, ...] = ()
    """Asks (see `Release.ask`) that this incarnation is still blocked on, so that a lost answer is sent again."""
    recovered: bool = False
    """The process that it is about has ended, and another process publishes what it had written down."""
    journal: bool = False
    """What it emits is kept, until it is acknowledged, where it outlives its process and others find it."""
    units_key: str = ""
    """Of a supervisor: the public key that the units which it starts prove themselves with, in this run alone."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The broker knows the peer. `next_seq` is the first sequence number it still wants from this incarnation,
    `credit` how many bytes of EVENTS bodies may be unacknowledged, `clock_ns` the broker's CLOCK_MONOTONIC.

    It comes in answer to HELLO, and once more when something premature was refused: go back to `next_seq`."""

    version: int
    next_seq: int
    credit: int
    clock_ns: int
    host: str = ""
    """Boot id of the broker's host: its clock is the timeline of every run that the broker keeps."""
    measure: bool = False
    """The peer's host has another clock, which is not measured in this run yet: PING, and say what comes of it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker will not talk to this peer; `why` says it in words that name the remedy. Final. `full`: whatever
    the peer, there is no room for its run, on the disk or in its log; what came until then is kept."""

    why: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class Invite:
    """To an agent that takes part in no run: `run` has orders for a supervisor of its name, and a runner that waits."""

    run: str


@dataclass(frozen=True, slots=True)
class Events:
    """`count` records, numbered from `first`, back to back in the body. Everything this incarnation emitted up to
    `watermark_ns` is in this message or was in an earlier one; with `count` 0 that is all it says."""

    first: int
    count: int
    watermark_ns: int
    recovered: bool = False
    """Published from the journal by a supervisor, after the unit's death."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequence numbers `first`..`last` (inclusive) are lost for good."""

    first: int
    last: int
    why: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Every record with a sequence number below `below` is in the log."""

    below: int


@dataclass(frozen=True, slots=True)
class Final:
    """This incarnation has said everything: its last sequence number was `last` (0: it never emitted)."""

    last: int
    unknown: str = ""
    """Why it is not known what else it emitted, from the peer that speaks for a process that has ended; "": nothing
    else."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send log entries from byte `offset` on, as they come, up to byte `offset + credit`. Each FETCH replaces the one
    before; repeating one is harmless."""

    offset: int
    credit: int


@dataclass(frozen=True, slots=True)
class Records:
    """Body: whole log entries, from byte `offset` of the log; the log ends at byte `end` for now."""

    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Command:
    """The runner (or the user's stop) to the units named in `to` (empty: all that are connected of the run). The body
    is one packed command, see below; the broker passes it on unread and keeps it in the log. One that names a
    supervisor ("@...") that is not there waits for it. `at_ns` is the sender's CLOCK_MONOTONIC at the decision, which
    is needed to judge the log again (0: unknown)."""

    to: tuple[str, ...] = ()
    at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Names:
    """Whose the names of a run are: name of a unit -> its owner, a supervisor ("@lab-2"). From then on no other
    key may speak as it. In the log the owner may also be the key that spoke first as a unit without an owner."""

    owners: dict[str, str]
    key: str = ""
    """Name of the key that has made the run, as the broker writes it at the beginning of its log; "" from others."""


@dataclass(frozen=True, slots=True)
class Issue:
    """The runner has made a key for its run: a peer that proves to own the other half of `public` may come in with
    `role` ("agent" or "unit") and speak as `units`, names or patterns, until the run has no runner any more."""

    name: str
    """"@lab-2" for that host's supervisor, "@lab-2/units" for what it starts."""
    public: str
    role: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Liveness and clock. `sent_ns` is the asker's CLOCK_MONOTONIC."""

    sent_ns: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to PING: the asker's stamp, and the broker's on arrival and departure. `counters` is what the broker has
    counted for this run, `incidents` whom it turned away (see docs/wire.md)."""

    sent_ns: int
    received_ns: int
    answered_ns: int
    counters: dict[str, int]
    incidents: dict[str, int] = field(default_factory=dict)
    """What peers did that they may not, "who: what" -> how often; who is named by key, pid or address."""


@dataclass(frozen=True, slots=True)
class Error:
    """The last message of this peer was not understood and was ignored."""

    why: str
    stranger: bool = False
    """The broker does not know this peer (it may have been restarted): say HELLO again."""


Message: TypeAlias = (
    Hello
    | Welcome
    | Refused
    | Invite
    | Events
    | Gap
    | Ack
    | Final
    | Fetch
    | Records
    | Command
    | Names
    | Issue
    | Ping
    | Pong
    | Error
)


# --- commands: the body of a COMMAND ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Release:
    """Lets through units that are blocked on `ask`: "barrier/<name>/<round>", "wait/<incarnation>.<number>", "start".
    For a wait, the event that fired is described by the other fields."""

    ask: str
    unit: str = ""
    step: str = ""
    key: str | None = None
    stamp_ns: int = 0
    at_ns: int = 0
    """Go on at this moment of the receiver's own CLOCK_MONOTONIC, not before; 0: at once."""
    data: dict[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Break:
    """Units that are blocked on `ask` will never be let through: the units in `who` are to blame, `why` says what
    became of them. `timeout` tells a time that ran out from a party that died."""

    ask: str
    who: tuple[str, ...]
    why: str
    timeout: bool = False


@dataclass(frozen=True, slots=True)
class Sync:
    """Send an EVENTS message with the present watermark, even if there is nothing else to send."""


@dataclass(frozen=True, slots=True)
class Begin:
    """To every supervisor, and the first command of a run: the run begins, on the clock of `host` (a boot id)."""

    host: str


@dataclass(frozen=True, slots=True)
class Ship:
    """To supervisors on other hosts: bytes `offset` and following of the scenario's folder, packed as tar and gzip;
    the whole has `size` bytes. A piece that is known already is ignored, so it may be repeated."""

    offset: int
    size: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Start:
    """To a supervisor: start this unit. `argv` is the whole command line; `env` is added to the supervisor's own.

    A supervisor on another host completes what only it can know: with `entrypoint` it makes the command line, with its
    own Python; a relative `cwd` is below the folder it was shipped; its own files have the names of `out` and `err`.
    """

    unit: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    out: str
    """Path of the file that takes standard output."""
    err: str
    """Path of the file that takes standard error."""
    life: int = 1
    """Which life of the unit in this run: 1, then 2 for the first restart. A supervisor that has begun this life, or a
    later one, ignores the order, so it may be repeated."""
    entrypoint: str = ""
    """`module:function` of a Python unit on another host; then `argv` is empty."""
    private: tuple[str, ...] = ()
    """Names in `env` whose values stand in no log: they travel in a frame of their own (see `wire.encode_private`)."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To a supervisor: end this unit: SIGTERM to its process group, SIGKILL after `grace_ms`."""

    unit: str
    grace_ms: int


@dataclass(frozen=True, slots=True)
class Finish:
    """To a supervisor: end what still runs, publish what is in the journals, say FINAL and exit."""

    grace_ms: int


@dataclass(frozen=True, slots=True)
class Settled:
    """To the log, by way of this host's supervisor: the circuits need nothing more from the services, which are stopped
    from here on."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The same: a person, or a signal, wants the run to end now."""


@dataclass(frozen=True, slots=True)
class Away:
    """To the log, by way of the supervisor it is about: the runner has not heard of `host` for too long, or knows that
    it cannot; `why` completes the sentence "lab-2 ..."."""

    host: str
    why: str


@dataclass(frozen=True, slots=True)
class Back:
    """The same: `host` is heard again."""

    host: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The same: the lease of `host` is over, so nothing that was started there lives any more."""

    host: str
    why: str


Order: TypeAlias = (
    Release | Break | Sync | Begin | Ship | Start | Stop | Finish | Settled | Interrupted | Away | Back | Gone
)
"""Any command."""
