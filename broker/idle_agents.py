"""Idle agents: those whose HELLO named no run. They take part in none, and are there to be invited.

Belongs here: who they are, what they may say, and who is invited to what. Must not know sockets. A peer that follows an
invitation opens a connection of its own, and is a peer like any other.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import zmq

from broker import access
from broker.admission import NOT_ITS_KEY, OVER_QUOTA, SAME_NAME, WRONG_HELLO, Refusal, check_identity, name_of, stripped
from broker.connections import Connection, Connections, public_key, where
from broker.frames import Sent
from broker.peers import PeerRegistry
from broker.quotas import Share
from broker.run import Run
from broker.runs import Runs
from probe import message as m
from probe.clock import monotonic_ns

MAX_IDLE: Final = 1024
"""Most idle agents at a time."""
MAX_OF_ONE: Final = MAX_IDLE // 2
"""Most of them with one key."""


@dataclass(slots=True)
class IdleAgent:
    """One idle agent."""

    identity: bytes
    hello: m.Hello
    connection: Connection
    key: str | None
    """The public key it came in with."""
    name: str
    """See `incidents.who`."""
    place: str
    """See `incidents.place`."""
    share: Share | None = None
    """What its key has of the broker."""
    invited: set[str] = field(default_factory=set)
    """Runs that it was invited to on this connection."""

    def was_invited(self, run: str) -> None:
        """Do not invite it to this run again; that is forgotten once in a thousand runs."""
        if len(self.invited) >= access.MAX_RUNS:
            self.invited.clear()
        self.invited.add(run)


class IdleAgents:
    """All idle agents: one of a name."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._agents: dict[bytes, IdleAgent] = {}
        self._called: dict[str, IdleAgent] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def __iter__(self) -> Iterator[IdleAgent]:
        return iter(list(self._agents.values()))

    def find(self, identity: bytes) -> IdleAgent | None:
        """The agent with this routing id."""
        return self._agents.get(identity)

    def called(self, unit: str) -> IdleAgent | None:
        """The agent of this name."""
        return self._called.get(unit)

    def admit(self, identity: bytes, hello: m.Hello, last: zmq.Frame) -> IdleAgent:
        """The agent that says HELLO with a message whose last frame is `last`. One that comes back while its old
        connection seems to be there takes its own place. Raises Refusal."""
        check_identity(identity)
        if why := access.why_not_admitted(hello, None):
            raise Refusal(WRONG_HELLO, why)
        public = public_key(last)
        if public and (why := access.why_not_granted(hello, self._connections.grant(public))):
            raise Refusal(NOT_ITS_KEY, why)
        first = self._called.get(hello.unit)
        if first is not None:
            if (first.hello.incarnation, first.key) != (hello.incarnation, public):
                raise Refusal(SAME_NAME, f"an agent called {hello.unit} is here already, from {first.place}")
            self._connections.dismiss(first.connection)
            self.leave(first.identity)
        share = self._connections.share(last)
        if share is not None and (why := share.why_no_connection()):
            raise Refusal(OVER_QUOTA, why)
        if share is not None and sum(agent.share is share for agent in self._agents.values()) >= MAX_OF_ONE:
            raise Refusal(OVER_QUOTA, f"{MAX_OF_ONE} agents wait here with the key {share.key!r}; give hosts their own")
        if len(self._agents) >= MAX_IDLE:
            raise Refusal(WRONG_HELLO, f"{MAX_IDLE} agents wait here already; start another broker")
        connection = self._connections.greeted(last, identity)
        name = name_of(last, self._connections, hello.unit)
        agent = IdleAgent(identity, stripped(hello), connection, public, name, where(last), share)
        if share is not None:
            share.connections += 1
        self._agents[identity] = self._called[hello.unit] = agent
        return agent

    def leave(self, identity: bytes) -> None:
        """Its connection has ended. Harmless for others."""
        agent = self._agents.pop(identity, None)
        if agent is not None:
            del self._called[agent.hello.unit]
            if agent.share is not None:
                agent.share.connections -= 1

    def answer(self, agent: IdleAgent, message: m.Message) -> m.Message | None:
        """What the broker answers to what an agent says; None: it may not say that."""
        now_ns = monotonic_ns()
        match message:
            case m.Ping(sent_ns):
                return m.Pong(sent_ns, now_ns, now_ns, {})
            case m.Hello(unit=unit, incarnation=incarnation) if access.is_idle(message):
                known = agent.hello
                return welcome() if (unit, incarnation) == (known.unit, known.incarnation) else None
        return None

    def invite(self, runs: Runs, peers: PeerRegistry, send: Callable[[bytes, m.Message], Sent]) -> bool:
        """Say INVITE to agents whom runs with a runner want. Whether a queue is full."""
        full = False
        if self._agents:
            ready = [run for run in runs.all() if run.pending and peers.of(run.name).runners]
            for agent, run_name in list(self._wanted(ready)):
                if peers.connections(run_name, agent.hello.unit):
                    continue  # its supervisor is there, and slow
                sent = send(agent.identity, m.Invite(run_name))
                full |= sent is Sent.FULL
                if sent is Sent.YES:
                    agent.was_invited(run_name)
        return full

    def _wanted(self, runs: Iterable[Run]) -> Iterator[tuple[IdleAgent, str]]:
        """Who is to be invited to which of `runs`: whom orders wait for, who may join that run, and who has not been
        invited to it yet."""
        for run in runs:
            for unit in run.pending:
                agent = self._called.get(unit)
                if agent is None or run.name in agent.invited:
                    continue
                grant = self._connections.grant(agent.key) if agent.key else None
                if agent.key is None or (grant is not None and access.is_for_run(grant, run.name)):
                    yield agent, run.name


def welcome() -> m.Welcome:
    """What an idle agent is answered: there is nothing to go on with."""
    return m.Welcome(m.VERSION, 1, 0, monotonic_ns())
