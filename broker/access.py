"""Who may come in, and who may say what. Values in, a reason or None out.

An `ipc://` endpoint lives in a folder that only the user can enter: the file system keeps others out, and who is in is
believed. Who comes over TCP has proved to own a key (`door`), and its grant says which roles, units and runs are its
own. With `--insecure` there are no keys, and everybody is believed.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from probe import message as m
from probe.event import MAX_STEP_BYTES

MAX_NAME_BYTES: Final = MAX_STEP_BYTES
"""Longest name of a unit or run, in bytes of UTF-8."""
MAX_INCARNATIONS: Final = 65_536
"""Most incarnations in one run: what is remembered of each is remembered for good."""
MAX_RUNS: Final = 1024
"""Most runs that one broker serves; each has an open file."""
MAX_LIVES: Final = MAX_INCARNATIONS // 4
"""Most incarnations of one unit, so that one that runs wild does not use up the run's."""
MAX_PEERS: Final = 16_384
"""Most connections that are remembered."""
MAX_READERS: Final = 32
"""Most readers at a time, of all runs: each may have a window of the log under way (`relay.MAX_WINDOW_BYTES`)."""
IDENTITY_BYTES: Final = 5
"""Length of the routing id that ZeroMQ gives a connection; it begins with a zero byte."""

SPEAKERS: Final[dict[type[m.Message], tuple[str, ...]]] = {
    m.Events: ("unit", "agent"),
    m.Gap: ("unit", "agent"),
    m.Final: ("unit", "agent"),
    m.Fetch: ("runner", "watcher"),
    m.Command: ("runner",),
    m.Ping: m.ROLES,
}
"""Message -> roles that may send it, once they have said HELLO."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the owner of one key may do. Whoever comes over `ipc://` has no key and no grant: the file system let them
    in, and they are believed."""

    name: str
    """Whose key it is, for people: `lab-2`, `api`."""
    roles: tuple[str, ...]
    """Among `message.ROLES`. An `agent` may also speak as any unit that `units` means (it publishes their journals)."""
    units: tuple[str, ...] = ()
    """Names or patterns of the units it may speak as; a supervisor (`@...`) only by one that begins with @."""
    runs: tuple[str, ...] = ("*",)
    """Ids or patterns of runs."""
    revoked: bool = False


def why_not_admitted(hello: m.Hello, only_run: str | None) -> str | None:
    """Why this peer is refused, in words that name the remedy; None: it may come in."""
    if hello.version != m.VERSION:
        return f"this broker speaks version {m.VERSION} of the protocol, you {hello.version}; install the same release"
    if hello.role not in m.ROLES:
        return f"unknown role {hello.role[:40]!r}; expected one of: {', '.join(m.ROLES)}"
    if not is_idle(hello) and (why := _why_not_that_run(hello, only_run)):
        return why
    if hello.role in ("unit", "agent"):
        if not hello.unit:
            return f"a peer with role {hello.role!r} needs the name of its unit; set CIRCUIT_UNIT"
        if len(hello.unit.encode()) > MAX_NAME_BYTES:
            return f"the name of the unit has more than {MAX_NAME_BYTES} bytes; shorten it"
        if hello.incarnation == 0:
            return f"unit {hello.unit!r} does not say which incarnation it is; expected a number above 0"
        if is_idle(hello) and not hello.unit.startswith("@"):
            return f"an agent is called like the supervisors that it starts, which begin with @, not {hello.unit!r}"
    return None


def is_idle(hello: m.Hello) -> bool:
    """Whether this is an agent that takes part in no run, and waits to be invited."""
    return hello.role == "agent" and not hello.run


def _why_not_that_run(hello: m.Hello, only_run: str | None) -> str | None:
    if only_run is not None and hello.run != only_run:
        return f"this broker serves run {only_run!r}, not {hello.run[:80]!r}; look at CIRCUIT_RUN and CIRCUIT_BROKER"
    if not is_run_id(hello.run):
        return (
            f"{hello.run[:80]!r} is no id of a run; use letters, digits, '.', '_' and '-', and a letter or digit first"
        )
    return None


def why_not_granted(hello: m.Hello, grant: Grant | None) -> str | None:
    """Why whoever proved to own a key is refused all the same; None: it may come in. `grant` is what the key is for,
    None if it is not on the list any more. For which runs an idle agent has it is asked when it joins one."""
    if grant is None:
        return "your key is not on this broker's list any more; ask for a new one: circuit-run keys new NAME"
    if grant.revoked:
        return f"the key {grant.name!r} was revoked; ask for a new one: circuit-run keys new NAME"
    if not is_idle(hello) and not is_for_run(grant, hello.run):
        return (
            f"the key {grant.name!r} is for runs {_listed(grant.runs)}, not {hello.run[:80]!r}; make one for this run"
        )
    recovers = hello.role == "unit" and "agent" in grant.roles
    if hello.role not in grant.roles and not recovers:
        return f"the key {grant.name!r} is for the role {_listed(grant.roles)}, not {hello.role!r}; use another key"
    if hello.role not in ("unit", "agent"):
        return None
    if not _may_speak_as(grant.units, hello.unit):
        return (
            f"the key {grant.name!r} may not speak as {hello.unit[:80]!r}, only as {_listed(grant.units)}; use that "
            "unit's own key"
        )
    return None


def is_for_run(grant: Grant, run: str) -> bool:
    """Whether the key is for this run."""
    return _means(grant.runs, run)


def why_not_owner(hello: m.Hello, grant: Grant, owner: str | None) -> str | None:
    """Why the name of the unit is not for this key; None: it is. `owner` is the key that spoke first as this unit in
    this run (None: nobody has). An agent may always: it publishes what a unit has left behind."""
    if owner in (None, grant.name) or "agent" in grant.roles:
        return None
    return f"unit {hello.unit[:80]!r} of this run belongs to the key {owner!r}; use that key, or another name"


def is_given(identity: bytes) -> bool:
    """Whether ZeroMQ made up this routing id. With one that it chose itself a peer could take the place of another."""
    return len(identity) == IDENTITY_BYTES and identity[0] == 0


def _may_speak_as(patterns: Collection[str], unit: str) -> bool:
    """A supervisor is believed about every unit, so `*` does not mean one: its name has to be said with the @."""
    return _means([pattern for pattern in patterns if pattern.startswith("@") == unit.startswith("@")], unit)


def _means(patterns: Collection[str], name: str) -> bool:
    from fnmatch import fnmatchcase  # only who has keys needs it

    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _listed(words: Collection[str]) -> str:
    return ", ".join(words) or "none"


def why_not_said(message: m.Message, role: str) -> str | None:
    """Why a peer with this role may not send this message; None: it may."""
    speakers: Collection[str] = SPEAKERS.get(type(message), ())
    if role in speakers:
        return None
    word = type(message).__name__.upper()
    if not speakers:
        return f"{word} is for the broker to say"
    return f"{word} comes from a {' or '.join(speakers)}, you are a {role}"


def is_run_id(text: str) -> bool:
    """Whether `text` can be the id of a run, and so the name of a folder."""
    return (
        0 < len(text) <= MAX_NAME_BYTES
        and text.isascii()
        and text[0].isalnum()
        and text.replace("-", "").replace("_", "").replace(".", "").isalnum()
    )


def why_not_listening(transport: str, *, guarded: bool) -> str | None:
    """Why the broker does not open such an endpoint; None: it does. `guarded`: there are keys, or its owner wants
    none."""
    if transport == "ipc" or guarded:
        return None
    return (
        "over TCP anybody who reaches the port could join; make keys with `circuit-run keys new NAME` and say "
        "--keys DIR, or say --insecure to let everybody in"
    )
