"""Admission: a HELLO becomes a peer, or a reason why not.

Belongs here: in which order what is asked of a peer (the rules themselves are in `access`), and the words under
which it is counted. Must not know who else is there.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import zmq

from broker import access, incidents
from broker.connections import Connections, is_local, public_key, where
from broker.errors import BrokerError, NoRoom
from broker.peer import Peer
from broker.runs import Runs
from probe import message as m

MAX_HOST: Final = 80
"""How much is kept of what a peer says its host is, in characters; a boot id has 36."""
DEAF_S: Final = 2.0
"""How long a peer's queue may stay full before that is worth a word."""

# what is counted (see `incidents`)
MALFORMED: Final = "sent what is no message"
NOT_ITS_ROLE: Final = "sent what its role may not"
NO_HELLO: Final = "spoke without HELLO"
WRONG_HELLO: Final = "refused, its HELLO does not fit"
TWO_HELLOS: Final = "said HELLO for two on one connection"
NOT_ITS_KEY: Final = "refused, its key is not for that"
NOT_ITS_NAME: Final = "refused, that unit belongs to another key"
SAME_NAME: Final = "refused, an agent of that name is here"
SAME_LIFE: Final = "refused, another process speaks as that incarnation"
CHOSEN_ID: Final = "refused, it chose its own routing id"
BEHIND: Final = "cut off, it did not take its orders"
REVOKED: Final = "cut off, its key was revoked"
FULL_HOUSE: Final = "refused, there are too many"
NOT_ITS_CLOCK: Final = "stamped by a clock that is not its host's"
DEAF: Final = f"has not read for {DEAF_S:.0f} s"
TOO_MUCH: Final = "cut off, the broker was short of memory"
OVER_QUOTA: Final = "refused, its key has what its quota allows"
STOPPED: Final = "its run was stopped"
SHUT_OUT: Final = "shut out of the run, it has filled the disk"


class Refusal(BrokerError):
    """Why a HELLO is answered by REFUSED, and under what it is counted."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        self.what = what


def admit(
    identity: bytes, hello: m.Hello, frames: Sequence[bytes], last: zmq.Frame, runs: Runs, connections: Connections
) -> Peer:
    """The peer that says HELLO with `frames`, the last of which is `last`, and its run, which is opened if need be.

    Raises BrokerError with the reason for REFUSED; Refusal if it is the peer's fault.
    """
    check_identity(identity)
    public = public_key(last)
    grant = connections.grant(public) if public else None
    share = connections.share_of(grant)

    def may_see(name: str) -> bool:
        return grant is None or access.is_for_run(grant, name)

    if hello.role == "watcher" and not hello.run:
        hello = replace(hello, run=next(runs.newest(may_see), ""))
        if not hello.run:
            raise Refusal(WRONG_HELLO, "there is no run here yet that you may see; start one, or name one")
    if why := access.why_not_admitted(hello, runs.only):
        raise Refusal(WRONG_HELLO, why)
    if public and (why := access.why_not_granted(hello, grant)):
        raise Refusal(NOT_ITS_KEY, why)
    if hello.role == "watcher" and not runs.is_here(hello.run):
        known = ", ".join(reversed(list(islice(runs.newest(may_see), 10)))) or "none yet"
        raise Refusal(WRONG_HELLO, f"there is no run {hello.run!r} here; runs: {known}")
    if share is not None and (why := share.why_no_connection()):
        raise Refusal(OVER_QUOTA, why)
    run = runs.open(hello.run, share)
    if share is not None and (why := run.shut_out.get(share.key, "")):
        raise NoRoom(why)
    speaks = hello.role in ("unit", "agent")
    if speaks and grant and (why := access.why_not_owner(hello, grant, run.owners.get(hello.unit))):
        raise Refusal(NOT_ITS_NAME, why)
    if speaks and run.is_contested(hello, frames):
        raise Refusal(
            SAME_LIFE,
            f"another process speaks as incarnation {hello.incarnation} of unit {hello.unit!r} of this run; choose a "
            "number that no other process has had",
        )
    owner = access.owner_of(grant, local=connections.has_keys and is_local(last)) if not hello.recovered else None
    account = run.join(hello, frames, owner) if speaks else None
    if grant is not None and hello.role == "agent" and hello.units_key and not hello.recovered:
        connections.issued.add(hello.units_key, access.issued_to_units(hello, grant))
    name = name_of(last, connections, hello.unit or hello.role)
    host = hello.host[:MAX_HOST]
    hello = stripped(hello)
    return Peer(identity, hello, run, account, connections.greeted(last, identity), public, name, share, host)


def let_in(issue: m.Issue, peer: Peer, connections: Connections) -> None:
    """From now on the key that the runner `peer` has made is good. Where there are no keys, none is needed. Raises
    BrokerError."""
    own = connections.grant(peer.key) if peer.key else None
    if own is None:
        return
    new = access.issued(issue, peer.run.name, own.holder)
    if why := access.why_not_issued(new, own):
        raise Refusal(NOT_ITS_KEY, f"{why}; a key for who runs scenarios: circuit-run keys new NAME --runner")
    connections.issued.add(issue.public, new)


def stripped(hello: m.Hello) -> m.Hello:
    """Without what is of no use any more, and as large as the peer likes."""
    return replace(hello, host="", sdk="", waiting=(), units_key="")


def check_size(frames: Sequence[bytes], connections: Connections) -> None:
    """Raises Refusal for a HELLO that is too large: it may stand in the log, once for every connection."""
    size, most = sum(map(len, frames)), connections.shares.quotas.hello
    if size > most:
        raise Refusal(
            OVER_QUOTA,
            f"this HELLO has {size:,} bytes, and the quota is {most:,}; say less of what you wait for (it is asked "
            "again anyway), or have the broker started with --quota hello=N",
        )


def check_identity(identity: bytes) -> None:
    """Raises Refusal for a routing id that the peer has chosen."""
    if not access.is_given(identity):
        raise Refusal(CHOSEN_ID, "this broker gives routing ids itself; do not set ZMQ_ROUTING_ID")


def name_of(frame: zmq.Frame, connections: Connections, unit: str = "") -> str:
    """The sender of `frame` in words (see `incidents.who`)."""
    public = public_key(frame)
    grant = connections.grant(public) if public else None
    return incidents.who(unit, where(frame), grant.name if grant else public)
