"""Agents that take part in no run: a real broker invites them, and lets them do nothing else."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker import idle_agents, keyring
from broker.access import Grant
from broker.errors import BrokerError
from broker.quotas import USUAL, Shares
from probe import message as m
from probe import wire
from probe.keys import Keys, load
from tests.support.broker_process import BrokerProcess, Peer

NAME = "@lab-2"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker that serves any run."""
    broker = BrokerProcess(tmp_path / "runs", run=None)
    yield broker
    assert broker.stop() == 0


def hello(unit: str = NAME, incarnation: int = 1, run: str = "") -> m.Hello:
    return m.Hello(m.VERSION, "agent", run, unit, incarnation)


@contextmanager
def waiting(endpoint: str, unit: str = NAME, incarnation: int = 1, keys: Keys | None = None) -> Iterator[Peer]:
    """An agent that has been welcomed without a run."""
    with Peer(endpoint, keys=keys) as agent:
        agent.say(hello(unit, incarnation))
        assert agent.hear(m.Welcome).next_seq == 1
        yield agent


@contextmanager
def runner(endpoint: str, run: str, keys: Keys | None = None) -> Iterator[Peer]:
    with Peer(endpoint, keys=keys) as peer:
        peer.say(m.Hello(m.VERSION, "runner", run))
        peer.hear(m.Welcome)
        yield peer


def order(peer: Peer, *to: str) -> None:
    peer.say(m.Command(to), wire.encode_order(m.Sync()))
    peer.pong()


def refused(endpoint: str, said: m.Hello, keys: Keys | None = None) -> str:
    with Peer(endpoint, keys=keys) as peer:
        peer.say(said)
        return peer.hear(m.Refused).why


def test_an_agent_is_invited_when_orders_wait_for_it_and_the_supervisor_that_comes_gets_them(
    lab: BrokerProcess,
) -> None:
    with waiting(lab.endpoint) as agent, runner(lab.endpoint, "one") as one:
        order(one, NAME)
        assert agent.hear(m.Invite) == m.Invite("one")
        with Peer(lab.endpoint) as supervisor:
            supervisor.say(hello(incarnation=2, run="one"))
            supervisor.hear(m.Welcome)
            assert supervisor.hear(m.Command) == m.Command()


def test_an_agent_that_comes_after_the_orders_is_invited_at_once_and_once_for_each_run(lab: BrokerProcess) -> None:
    with ExitStack() as stack:
        for run in ("one", "two"):
            order(stack.enter_context(runner(lab.endpoint, run)), NAME, "@elsewhere")
        agent = stack.enter_context(waiting(lab.endpoint))
        assert {agent.hear(m.Invite).run, agent.hear(m.Invite).run} == {"one", "two"}
        order(stack.enter_context(runner(lab.endpoint, "two")), NAME)
        assert agent.pong().counters == {}  # and no second invitation before it


def test_an_agent_that_comes_back_is_invited_again(lab: BrokerProcess) -> None:
    with runner(lab.endpoint, "one") as one:
        order(one, NAME)
        for _ in range(2):
            with waiting(lab.endpoint) as agent:
                assert agent.hear(m.Invite) == m.Invite("one")


def test_a_run_whose_runner_has_left_invites_no_agent_until_it_is_back(lab: BrokerProcess) -> None:
    with runner(lab.endpoint, "one") as one:
        order(one, NAME)
    with Peer.unit(lab.endpoint, run="one") as unit:
        while unit.pong().counters["runners"]:  # until the broker has seen it go
            pass
        with waiting(lab.endpoint) as agent:
            agent.pong()
            with runner(lab.endpoint, "one"):
                assert agent.hear(m.Invite) == m.Invite("one")


def test_an_idle_agent_leaves_no_trace_in_any_run_and_a_broker_for_one_run_takes_it_too(broker: BrokerProcess) -> None:
    with Peer.unit(broker.endpoint) as unit, waiting(broker.endpoint):
        counters = unit.pong().counters
        assert (counters["peers"], counters["incarnations"], counters["entries"]) == (1, 1, 1)


def test_an_idle_agent_may_say_hello_and_ping_and_nothing_else(lab: BrokerProcess) -> None:
    with waiting(lab.endpoint) as agent:
        agent.say(hello())
        agent.hear(m.Welcome)
        assert agent.pong().counters == {}
        for message in (m.Fetch(0, 1), m.Final(0), m.Command((NAME,)), hello(incarnation=2), hello(run="one")):
            agent.say(message)
            assert agent.hear(m.Error) == m.Error(
                "an agent that waits for an invitation says HELLO and PING, and nothing else"
            )
        agent.say_frames(b"GIBBERISH", b"")
        assert not agent.hear(m.Error).stranger
        with Peer.unit(lab.endpoint) as unit:
            assert unit.incidents() == {
                "127.0.0.1: sent what its role may not": 5,
                "127.0.0.1: sent what is no message": 1,
            }


def test_a_second_agent_of_the_same_name_hears_where_the_first_one_is(lab: BrokerProcess) -> None:
    with waiting(lab.endpoint), waiting(lab.endpoint, "@lab-3"):
        why = refused(lab.endpoint, hello(incarnation=2))
        assert why == "an agent called @lab-2 is here already, from 127.0.0.1"
    with Peer(lab.endpoint) as second:  # the first has left, or is just about to
        second.say(hello(incarnation=2))
        second.hear(m.Welcome)


def test_an_agent_that_comes_back_before_its_old_connection_is_seen_to_end_takes_its_place(lab: BrokerProcess) -> None:
    with waiting(lab.endpoint), waiting(lab.endpoint) as again, runner(lab.endpoint, "one") as one:
        order(one, NAME)
        assert again.hear(m.Invite) == m.Invite("one")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (hello("lab-2"), "an agent is called like the supervisors that it starts, which begin with @, not 'lab-2'"),
        (hello(""), "a peer with role 'agent' needs the name of its unit; set CIRCUIT_UNIT"),
        (hello(incarnation=0), "unit '@lab-2' does not say which incarnation it is; expected a number above 0"),
    ],
)
def test_an_agent_says_who_it_is_though_it_names_no_run(lab: BrokerProcess, said: m.Hello, why: str) -> None:
    assert refused(lab.endpoint, said) == why


def test_an_idle_agent_needs_a_key_for_its_name_and_is_invited_only_to_runs_of_that_key(tmp_path: Path) -> None:
    ring = tmp_path / "keys"
    keyring.create(ring)
    ours = load(keyring.add(ring, "lab-2", roles=["agent"], units=[NAME], runs=["night-*"]))
    unit = load(keyring.add(ring, "camera", roles=["unit"], units=[NAME]))
    desk = load(keyring.add(ring, "desk", roles=["runner"]))
    broker = BrokerProcess(tmp_path / "runs", "--keys", str(ring), run=None)
    try:
        assert "is for the role unit, not 'agent'" in refused(broker.endpoint, hello(), unit)
        assert "may not speak as '@lab-3', only as @lab-2" in refused(broker.endpoint, hello("@lab-3"), ours)
        with waiting(broker.endpoint, keys=ours) as agent, ExitStack() as stack:
            for run in ("day-1", "night-1"):
                order(stack.enter_context(runner(broker.endpoint, run, desk)), NAME)
            assert agent.hear(m.Invite) == m.Invite("night-1")
            keyring.revoke(ring, "lab-2")
            assert agent.hear(m.Refused).why.startswith("the key 'lab-2' was revoked")
    finally:
        broker.stop()


def test_the_keys_of_two_keyrings_open_one_broker(tmp_path: Path) -> None:
    lasting, passing = tmp_path / "lasting", tmp_path / "passing"
    keyring.create(lasting)
    anna = load(keyring.add(lasting, "anna", roles=["runner"]))
    camera = load(keyring.for_run(passing, ["camera"], like=lasting)["camera"])
    broker = BrokerProcess(tmp_path / "runs", "--keys", str(lasting), "--keys", str(passing))
    try:
        with runner(broker.endpoint, "run-1", anna), Peer(broker.endpoint, keys=camera) as unit:
            unit.say(m.Hello(m.VERSION, "unit", "run-1", "camera", 1))
            unit.hear(m.Welcome)
    finally:
        broker.stop()


# --- whose clock is whose ---


def welcome(peer: Peer, role: str, unit: str, incarnation: int, host: str) -> m.Welcome:
    peer.say(m.Hello(m.VERSION, role, "run-1", unit, incarnation, host=host))
    return peer.hear(m.Welcome)


def test_welcome_names_the_host_of_the_broker_and_who_has_to_measure_its_clock(broker: BrokerProcess) -> None:
    ours = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with ExitStack() as stack:

        def measures(role: str, unit: str, incarnation: int, host: str) -> bool:
            said = welcome(stack.enter_context(Peer(broker.endpoint)), role, unit, incarnation, host)
            assert said.host == ours
            return said.measure

        assert not measures("unit", "api", 1, ours)
        assert not measures("agent", "@local", 1, ours)
        assert not measures("unit", "api", 2, "")
        assert measures("unit", "api", 3, "elsewhere")  # no supervisor there does it for it
        assert measures("agent", "@lab-2", 1, "elsewhere")
        assert not measures("unit", "api", 4, "elsewhere")
        assert measures("unit", "api", 5, "somewhere else")
        assert measures("unit", "api", 6, "e" * 1000)
        assert not welcome(stack.enter_context(Peer(broker.endpoint)), "watcher", "", 0, "elsewhere").measure


class Frame:
    """The last one of a HELLO, as far as it is asked who has sent it."""

    def get(self, _name: str) -> str:
        return "127.0.0.1"


def test_one_key_cannot_have_all_the_places_of_agents_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_agents, "MAX_OF_ONE", 2)
    shares = Shares(USUAL)
    whose = ["cam", "cam", "cam", "bob"]
    asked = iter([shares.of(key, 0.0) for key in whose])
    connections = SimpleNamespace(
        grant=lambda _key: Grant("any", ("agent",), ("@*",)),
        share=lambda _frame: next(asked),
        greeted=lambda _frame, _identity: None,
    )
    agents = idle_agents.IdleAgents(connections)  # type: ignore[arg-type]

    def come(number: int) -> None:
        hello = m.Hello(m.VERSION, "agent", "", f"@lab-{number}", 1)
        agents.admit(bytes([0, 0, 0, 0, number]), hello, Frame())  # type: ignore[arg-type]

    come(1)
    come(2)
    with pytest.raises(BrokerError, match="2 agents wait here with the key 'cam'; give hosts their own"):
        come(3)
    come(4)
    assert len(agents) == 3
    assert (shares.of("cam", 0.0).connections, shares.of("bob", 0.0).connections) == (2, 1)
    agents.leave(bytes([0, 0, 0, 0, 1]))
    assert shares.of("cam", 0.0).connections == 1
