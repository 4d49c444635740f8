"""Who may come in, and who may say what. Values in, a reason or None out.

What holds in this version, and no more: an `ipc://` endpoint lives in a folder that only the user can enter, so the
file system keeps others out; a `tcp://` endpoint is opened on loopback only, where every local user may connect. Nobody
has to prove who they are: roles and names are believed.
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
MAX_PEERS: Final = 16_384
"""Most connections that are remembered."""

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
    """Names or patterns of the units it may speak as."""
    runs: tuple[str, ...] = ("*",)
    """Ids or patterns of runs."""
    revoked: bool = False


def why_not_admitted(hello: m.Hello, only_run: str | None) -> str | None:
    """Why this peer is refused, in words that name the remedy; None: it may come in."""
    if hello.version != m.VERSION:
        return f"this broker speaks version {m.VERSION} of the protocol, you {hello.version}; install the same release"
    if hello.role not in m.ROLES:
        return f"unknown role {hello.role[:40]!r}; expected one of: {', '.join(m.ROLES)}"
    if only_run is not None and hello.run != only_run:
        return f"this broker serves run {only_run!r}, not {hello.run[:80]!r}; look at CIRCUIT_RUN and CIRCUIT_BROKER"
    if not is_run_id(hello.run):
        return (
            f"{hello.run[:80]!r} is no id of a run; use letters, digits, '.', '_' and '-', and a letter or digit first"
        )
    if hello.role in ("unit", "agent"):
        if not hello.unit:
            return f"a peer with role {hello.role!r} needs the name of its unit; set CIRCUIT_UNIT"
        if len(hello.unit.encode()) > MAX_NAME_BYTES:
            return f"the name of the unit has more than {MAX_NAME_BYTES} bytes; shorten it"
        if hello.incarnation == 0:
            return f"unit {hello.unit!r} does not say which incarnation it is; expected a number above 0"
    return None


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


def why_not_listening(transport: str, address: str, folder_mode: int | None) -> str | None:
    """Why the broker does not open this endpoint; None: it does. `folder_mode` is the mode of the folder of an ipc
    socket."""
    if transport == "ipc":
        if folder_mode is not None and folder_mode & 0o077:
            return "its folder can be entered by others; name a folder that does not exist yet, or `chmod 700` it"
        return None
    host = address.rpartition(":")[0]
    if host != "[::1]" and not (host.startswith("127.") and host.replace(".", "").isdigit()):
        return "without keys the broker listens on this host only; use tcp://127.0.0.1:PORT, or ipc:///path"
    return None
