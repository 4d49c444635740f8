"""Who may come in, and who may say what. Values in, a reason or None out.

An `ipc://` endpoint lives in a folder that only the user can enter: the file system keeps others out, and a peer that
is in is believed. One that comes over TCP has proved to own a key (`connections`); its grant says which roles, units
and runs are its own. With `--insecure` there are no keys, and every peer is believed.

A name of a run has an owner: the supervisor that starts the unit ("@lab-2"), as the run's runner says, or the key that
spoke first as a unit that had no owner. What a key may speak as is what its grant says, less what others own.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, TypeGuard

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
MAX_OWNED: Final = MAX_INCARNATIONS
"""Most names of a run that have an owner."""
LOCAL: Final = "@local"
"""The supervisor on the runner's own host; what it starts comes over `ipc://`, or with a key made for the run."""
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
    m.Names: ("runner",),
    m.Issue: ("runner",),
    m.Ping: m.ROLES,
}
"""Message -> roles that may send it, once they have said HELLO."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the owner of one key may do. A peer that comes over `ipc://` has no key and no grant: the file system let it
    in, and it is believed."""

    name: str
    """Whose key it is, for people: `lab-2`, `api`."""
    roles: tuple[str, ...]
    """Among `message.ROLES`. An `agent` may also speak as any unit that `units` means (it publishes their journals)."""
    units: tuple[str, ...] = ()
    """Names or patterns of the units it may speak as; a supervisor (`@...`) only by one that begins with @."""
    runs: tuple[str, ...] = ("*",)
    """Ids or patterns of runs."""
    revoked: bool = False
    giver: str = ""
    """Name of the lasting key behind a key that was made for a run; "": it lasts itself."""

    @property
    def holder(self) -> str:
        """Name of the lasting key that answers for what is done with this one: its quota is used."""
        return self.giver or self.name


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
    """Why a peer that proved to own a key is refused all the same; None: it may come in. `grant` is what the key is
    for, None if it is not on the list any more. For which runs an idle agent has it is asked when it joins one."""
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
    """Why the name of the unit is not for this key; None: it is. `owner` is whose it is in this run (None: it has no
    owner yet). A runner may speak for all of its run, and an agent publishes what a unit without a supervisor left
    behind."""
    if owner in (None, grant.name) or "runner" in grant.roles:
        return None
    if not is_supervisor(owner):
        if "agent" in grant.roles:
            return None
        return f"unit {hello.unit[:80]!r} of this run belongs to the key {owner!r}; use that key, or another name"
    if grant.name == units_of(owner) or (owner != LOCAL and _may_speak_as(grant.units, owner)):
        return None
    host = "the host of its runner" if owner == LOCAL else f"host {owner[1:]}"
    return (
        f"unit {hello.unit[:80]!r} of this run is started on {host}, and the key {grant.name!r} may not speak as it; "
        "use another name"
    )


def is_supervisor(name: str | None) -> TypeGuard[str]:
    """Whether a unit or an owner of this name is a supervisor. No key that lasts is called so."""
    return name is not None and name.startswith("@")


def owner_of(grant: Grant | None, *, local: bool) -> str | None:
    """Whose a name without an owner is from now on, when a peer with this grant has come in as that unit: an agent
    only publishes what others have said. `local`: the peer came over `ipc://`."""
    if grant is None:
        return LOCAL if local else None
    return grant.name if "agent" not in grant.roles else None


def units_of(supervisor: str) -> str:
    """What the key of the units is called that a supervisor starts. No key that lasts is called so."""
    return f"{supervisor}/units"


def issued(issue: m.Issue, run: str, giver: str = "") -> Grant:
    """What a key may do that the runner of `run` has made, who has come in with the key `giver`."""
    roles = ("agent", "unit") if issue.role == "agent" else ("unit",)
    return Grant(issue.name, roles, issue.units, (escaped(run),), giver=giver)


def issued_to_units(hello: m.Hello, grant: Grant) -> Grant:
    """What the key may do that a supervisor, which has come in with `grant`, has made for the units that it starts."""
    units = tuple(unit for unit in grant.units if not is_supervisor(unit))
    return Grant(units_of(hello.unit), ("unit",), units, (escaped(hello.run),), giver=grant.holder)


def why_not_issued(new: Grant, own: Grant) -> str | None:
    """Why a peer that has come in with `own` may not give the key `new`; None: it may. It can give only what it
    has."""
    if not is_supervisor(new.name):
        return f"{new.name[:80]!r} is no name for a key of a run; it is called like a supervisor: @lab-2, @lab-2/units"
    if "runner" in new.roles or not set(new.roles) <= {*own.roles, "unit"}:
        return f"the key {own.name!r} may not give the role {_listed(new.roles)}"
    if beyond := [unit for unit in new.units if not _covers(own.units, unit)]:
        return f"the key {own.name!r} may not speak as {beyond[0][:80]!r}, and so not let others do so"
    return None


def _covers(patterns: Collection[str], pattern: str) -> bool:
    """Whether `patterns` mean all that `pattern` means."""
    if pattern in patterns or ("@*" if is_supervisor(pattern) else "*") in patterns:
        return True
    name = unescaped(pattern)
    return escaped(name) == pattern and _may_speak_as(patterns, name)


def escaped(name: str) -> str:
    """The pattern that means `name` alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def unescaped(pattern: str) -> str:
    """What `escaped` made `pattern` of; in any other pattern, no name that `pattern` means alone."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


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
        "over TCP any process that reaches the port could join; make keys with `circuit-run keys new NAME` and say "
        "--keys DIR, or say --insecure to let every process in"
    )
