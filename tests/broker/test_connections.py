"""Who is let in over TCP: a real broker with a keyring, and peers with the right keys, wrong ones and none."""

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from broker import connections, keyring
from broker.issued import Issued
from probe import message as m
from probe.keys import Keys, load
from probe.keys import made as new_keys
from tests.support.broker_process import RUN, BrokerProcess, Peer
from tests.support.raw_zmtp import RawPeer
from tests.support.scenarios import poll


class Lab:
    """A broker with a keyring, and a unit over its ipc endpoint that is served all the time."""

    def __init__(self, folder: Path, short: Path) -> None:
        self.ring = folder / "keys"
        keyring.create(self.ring)
        self.broker = BrokerProcess(
            folder / "run",
            "--keys",
            str(self.ring),
            "--listen",
            f"ipc://{short}/private/bus",
            listen="tcp://127.0.0.1:0",
        )
        self.endpoint = self.broker.endpoint
        self.local = self.broker.next_endpoint()
        self.unit = Peer.unit(self.local)
        self._seq = 0

    def key(self, name: str, role: str = "unit", *units: str, runs: str = "*") -> Keys:
        """A new key, as its owner has it."""
        return load(keyring.add(self.ring, name, roles=[role], units=units, runs=[runs]))

    def serves(self) -> None:
        """The well-behaved unit still gets what it is due."""
        self._seq += 1
        self.unit.emit(self._seq, "fine")
        assert self.unit.hear(m.Ack) == m.Ack(self._seq + 1)

    def counted(self, row: str, least: int = 1) -> None:
        """Wait until the incident is counted."""
        assert poll(lambda: self.unit.incidents().get(row, 0) >= least, 10), self.unit.incidents()

    def counted_at_least(self, times: int) -> None:
        """Wait until something of that place was counted so often."""
        assert poll(lambda: sum(self.unit.incidents().values()) >= times, 10), self.unit.incidents()

    def restart(self) -> None:
        """The broker is killed, and another one takes its place."""
        self.broker.kill()
        self.broker.restart()
        self.broker.next_endpoint()

    def close(self) -> None:
        self.unit.close()
        assert self.broker.stop() == 0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        lab = Lab(tmp_path, Path(short))
        yield lab
        lab.close()


def hello(unit: str = "api", role: str = "unit", run: str = RUN) -> m.Hello:
    return m.Hello(m.VERSION, role, run, unit, 1)


def refused(lab: Lab, keys: Keys, said: m.Hello) -> str:
    with Peer(lab.endpoint, keys=keys) as peer:
        peer.say(said)
        return peer.hear(m.Refused).why


def test_who_has_the_key_of_a_unit_speaks_as_that_unit(lab: Lab) -> None:
    with Peer(lab.endpoint, keys=lab.key("lab-2", "unit", "worker-*")) as worker:
        worker.say(hello("worker-1"))
        worker.hear(m.Welcome)
        worker.emit(1, "a")
        assert worker.hear(m.Ack) == m.Ack(2)
    assert lab.unit.incidents() == {}


def test_an_unknown_key_is_refused_at_the_door_and_counted_by_address(lab: Lab) -> None:
    broker = lab.key("api", "unit", "api").broker
    public, secret = zmq.curve_keypair()
    with Peer(lab.endpoint, keys=Keys("mallory", broker, public.decode(), secret.decode())) as stranger:
        lab.counted("127.0.0.1: refused, unknown key")
        lab.serves()
        assert not stranger.socket.poll(0)


def test_who_has_shown_its_key_and_leaves_before_hello_has_done_nothing_wrong_and_who_has_not_is_counted(
    lab: Lab,
) -> None:
    with Peer(lab.endpoint, keys=lab.key("api", "unit", "api")) as ended:
        monitor = ended.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        with monitor:
            assert monitor.poll(10_000)
            ended.socket.disable_monitor()
    for endpoint in (lab.endpoint, lab.local):
        with RawPeer(endpoint, greeted=False) as scanner:
            lab.serves()
            scanner.socket.shutdown(socket.SHUT_WR)
            assert scanner.cut_off()
    lab.counted(f"pid {os.getpid()}: left before it said HELLO")  # the last one that left
    assert lab.unit.incidents()["127.0.0.1: left before it said HELLO"] == 1


def test_keys_for_another_broker_are_refused_and_counted_by_address(lab: Lab) -> None:
    other, _ = zmq.curve_keypair()
    with Peer(lab.endpoint, keys=replace(lab.key("api", "unit", "api"), broker=other.decode())) as lost:
        lab.counted("127.0.0.1: refused, its keys are for another broker, or its traffic is a copy")
        lab.serves()
        assert not lost.socket.poll(0)


def test_a_peer_without_keys_and_one_that_speaks_gibberish_get_nowhere(lab: Lab) -> None:
    with Peer(lab.endpoint) as bare, RawPeer(lab.endpoint, greeted=False) as noise:
        lab.serves()
        noise.send(b"GET / HTTP/1.1\r\n\r\n" * 9)
        assert noise.cut_off()
        lab.counted_at_least(2)  # under one name or another: the side that first sees that it will not do hangs up
        lab.serves()
        assert not bare.socket.poll(0)


def test_recorded_traffic_of_a_peer_with_a_valid_key_opens_nothing(lab: Lab) -> None:
    heard = bytearray()
    host, _, port = lab.endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as between, socket.create_connection((host, int(port))) as out:
        with Peer(f"tcp://127.0.0.1:{between.getsockname()[1]}", keys=lab.key("cam", "unit", "cam")) as peer:
            inward, _ = between.accept()
            pipes = [
                threading.Thread(target=pump, args=(inward, out, heard)),
                threading.Thread(target=pump, args=(out, inward, bytearray())),
            ]
            for pipe in pipes:
                pipe.start()
            peer.say(hello("cam"))
            peer.hear(m.Welcome)
        for pipe in pipes:
            pipe.join()
        inward.close()
    incarnations = lab.unit.pong().counters["incarnations"]
    with RawPeer(lab.endpoint, greeted=False) as replay:
        replay.send(bytes(heard[:64]))
        lab.serves()  # or it would be gone before it is known where it comes from
        replay.send(bytes(heard[64:]))
        assert replay.cut_off()
    lab.counted("127.0.0.1: refused, its keys are for another broker, or its traffic is a copy")
    assert lab.unit.pong().counters["incarnations"] == incarnations
    lab.serves()


def pump(source: socket.socket, sink: socket.socket, copy: bytearray) -> None:
    while data := source.recv(65536):
        copy += data
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("role", "units", "said", "why"),
    [
        ("unit", ["worker-*"], hello("api"), "may not speak as 'api', only as worker-*; use that unit's own key"),
        ("unit", ["api"], hello("", "runner"), "is for the role unit, not 'runner'; use another key"),
        ("watcher", [], hello("api"), "is for the role watcher, not 'unit'; use another key"),
        ("watcher", [], hello("@lab-2", "agent"), "is for the role watcher, not 'agent'; use another key"),
    ],
)
def test_a_key_opens_only_what_it_is_for(lab: Lab, role: str, units: list[str], said: m.Hello, why: str) -> None:
    assert refused(lab, lab.key("lab-2", role, *units), said) == f"the key 'lab-2' {why}"
    assert lab.unit.incidents() == {"lab-2 at 127.0.0.1: refused, its key is not for that": 1}
    lab.serves()


def test_a_key_for_other_runs_is_refused(lab: Lab) -> None:
    why = refused(lab, lab.key("lab-2", "unit", "*", runs="nightly-*"), hello())
    assert why == "the key 'lab-2' is for runs nightly-*, not 'run-1'; make one for this run"


def test_the_first_key_that_spoke_as_a_unit_keeps_the_name_but_an_agent_publishes_what_is_left(lab: Lab) -> None:
    first, second, agent = lab.key("one", "unit", "*"), lab.key("two", "unit", "*"), lab.key("lab", "agent", "*")
    with Peer(lab.endpoint, keys=first) as peer:
        peer.say(hello("db"))
        peer.hear(m.Welcome)
    assert refused(lab, second, replace(hello("db"), incarnation=2)) == (
        "unit 'db' of this run belongs to the key 'one'; use that key, or another name"
    )
    assert lab.unit.incidents() == {"two at 127.0.0.1: refused, that unit belongs to another key": 1}
    for keys in (agent, first):
        with Peer(lab.endpoint, keys=keys) as peer:
            peer.say(hello("db"))
            peer.hear(m.Welcome)


class Anna(Peer):
    """A runner with a key of its own, which the broker knows with its run."""

    def __init__(self, lab: Lab, *said: m.Message) -> None:
        keys = load(keyring.add(lab.ring, "anna", roles=["runner", "agent", "unit"], units=["*", "@*"]))
        super().__init__(lab.endpoint, keys=keys)
        self.keys = keys
        self.say(hello("", "runner"))
        self.hear(m.Welcome)
        for message in said:
            self.say(message)
        self.pong()

    def issued(self, name: str, role: str, *units: str) -> Keys:
        """A key that she has made for her run."""
        made = new_keys(name, self.keys.broker)
        self.say(m.Issue(name, made.public, role, units))
        self.pong()
        return made


def test_a_name_that_the_runner_gives_to_a_supervisor_is_for_no_other_key_also_after_a_restart(lab: Lab) -> None:
    pool = lab.key("pool", "unit", "*")
    agent = load(keyring.add(lab.ring, "lab-2", roles=["agent", "unit"], units=["*", "@lab-2"]))
    with Anna(lab, m.Names({"db": "@local", "camera": "@lab-2"})):
        for _ in range(2):
            assert "is started on the host of its runner" in refused(lab, pool, hello("db"))
            assert "is started on host lab-2" in refused(lab, pool, hello("camera"))
            assert "is started on the host of its runner" in refused(lab, agent, hello("db"))
            with Peer(lab.endpoint, keys=agent) as peer:
                peer.say(hello("camera"))
                peer.hear(m.Welcome)
            lab.restart()


def test_the_first_key_that_speaks_as_a_unit_keeps_its_name_also_when_the_broker_was_killed(lab: Lab) -> None:
    one, two = lab.key("one", "unit", "*"), lab.key("two", "unit", "*")
    for _ in range(2):
        with Peer(lab.endpoint, keys=one) as peer:
            peer.say(hello("camera"))
            peer.hear(m.Welcome)
        assert "unit 'camera' of this run belongs to the key 'one'" in refused(lab, two, hello("camera"))
        lab.restart()
    assert "belongs to the key 'one'" in refused(lab, two, hello("camera")), "though its owner has not come back yet"


def test_who_was_there_before_the_runner_is_reported_to_it(lab: Lab) -> None:
    with Peer(lab.endpoint, keys=lab.key("pool", "unit", "*")) as peer, Anna(lab) as anna:
        peer.say(hello("db"))
        peer.hear(m.Welcome)
        anna.say(m.Names({"db": "@local"}))
        assert "'pool' has it already: another peer was there before the runner" in anna.hear(m.Refused).why


def test_a_name_that_a_local_unit_has_is_not_for_a_key(lab: Lab) -> None:
    why = refused(lab, lab.key("pool", "unit", "*"), replace(hello("api"), incarnation=2))
    assert "unit 'api' of this run is started on the host of its runner" in why


def test_a_key_of_a_run_opens_what_the_runner_said_in_that_run_also_after_a_restart(lab: Lab) -> None:
    with Anna(lab, m.Names({"camera": "@lab-1"})) as anna:
        keys = anna.issued("@lab-1", "agent", "@lab-1", "camera")
        for _ in range(2):
            for said in (hello("@lab-1", "agent"), hello("camera")):
                with Peer(lab.endpoint, keys=keys) as peer:
                    peer.say(said)
                    peer.hear(m.Welcome)
            for said in (hello("", "runner"), hello("", "watcher"), hello("@local", "agent"), hello("store")):
                assert "the key '@lab-1'" in refused(lab, keys, said)
            lab.restart()


def test_a_runner_cannot_give_what_it_does_not_have(lab: Lab) -> None:
    with Peer(lab.endpoint, keys=load(keyring.add(lab.ring, "bob", roles=["runner"]))) as bob:
        bob.say(hello("", "runner"))
        bob.hear(m.Welcome)
        bob.say(m.Issue("@lab-1", new_keys("x", "").public, "agent", ("@lab-1",)))
        assert bob.hear(m.Refused).why.startswith("the key 'bob' may not give the role agent, unit; a key for who runs")
    with Peer(lab.endpoint, keys=lab.key("pool", "unit", "*")) as pool:
        pool.say(hello("db"))
        pool.hear(m.Welcome)
        pool.say(m.Issue("@lab-1", new_keys("x", "").public, "agent", ("@lab-1",)))
        assert pool.hear(m.Error).why == "ISSUE comes from a runner, you are a unit"


def test_what_a_supervisor_starts_has_a_key_for_its_names_and_no_more(lab: Lab) -> None:
    agent = load(keyring.add(lab.ring, "lab-2", roles=["agent", "unit"], units=["*", "@lab-2"]))
    units = new_keys("@lab-2/units", agent.broker)
    with Anna(lab, m.Names({"db": "@local", "camera": "@lab-2"})), Peer(lab.endpoint, keys=agent) as supervisor:
        supervisor.say(replace(hello("@lab-2", "agent"), units_key=units.public))
        supervisor.hear(m.Welcome)
        with Peer(lab.endpoint, keys=units) as peer:
            peer.say(hello("camera"))
            peer.hear(m.Welcome)
        assert "is started on the host of its runner" in refused(lab, units, hello("db"))
        for said in (hello("@lab-2", "agent"), hello("", "runner"), hello("camera", run="run-2")):
            assert refused(lab, units, said)
        keyring.revoke(lab.ring, "lab-2")
        supervisor.hear(m.Refused)
        with Peer(lab.endpoint, keys=units):
            lab.counted("127.0.0.1: refused, unknown key")


def test_a_key_that_is_revoked_is_cut_off_and_stays_out(lab: Lab) -> None:
    keys = lab.key("lab-2", "unit", "*")
    with Peer(lab.endpoint, keys=keys) as peer:
        peer.say(hello("worker"))
        peer.hear(m.Welcome)
        keyring.revoke(lab.ring, "lab-2")
        assert peer.hear(m.Refused).why == "the key 'lab-2' was revoked; ask for a new one: circuit-run keys new NAME"
        lab.counted("worker (lab-2 at 127.0.0.1): cut off, its key was revoked")
        peer.emit(1, "too late")
        lab.counted("lab-2 at 127.0.0.1: refused, revoked key")  # it comes back, and is stopped at the handshake
    assert lab.unit.pong().counters.get("events", 0) == 0
    lab.serves()


def test_who_is_shown_out_has_time_to_read_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(connections, "monotonic", lambda: now_s)
    with tempfile.TemporaryDirectory(dir="/tmp") as short, zmq.Context() as context, context.socket(zmq.ROUTER) as bus:
        ours = connections.Connections(context, bus, None, Issued(tmp_path))
        bus.bind(f"ipc://{short}/bus")
        with RawPeer(f"ipc://{short}/bus") as raw:
            assert poll(lambda: ours.answer() or len(ours) == 1, 10)
            (connection,) = ours.present
            ours.dismiss(connection)
            now_s += connections.READ_S / 2
            ours.tidy()
            assert is_open(raw)
            now_s += connections.READ_S
            ours.tidy()
            assert raw.cut_off()
        ours.close()


def is_open(raw: RawPeer) -> bool:
    """Whether the other side has not hung up."""
    raw.socket.setblocking(False)
    try:
        while raw.socket.recv(4096):
            pass
    except BlockingIOError:
        return True
    finally:
        raw.socket.settimeout(10.0)
    return False


def test_who_connects_and_never_says_hello_is_shown_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HELLO_S", 0.0)
    with tempfile.TemporaryDirectory(dir="/tmp") as short, zmq.Context() as context, context.socket(zmq.ROUTER) as bus:
        ours = connections.Connections(context, bus, None, Issued(tmp_path))
        bus.bind(f"ipc://{short}/bus")
        with RawPeer(f"ipc://{short}/bus") as idle:

            def shown_out() -> bool:
                ours.answer()
                ours.tidy()
                return bool(ours.incidents.merged(connections.Incidents()))

            assert poll(shown_out, 10)
            assert idle.cut_off()
            assert poll(lambda: ours.answer() or not ours.present, 10)
        assert ours.incidents.merged(connections.Incidents()) == {
            f"pid {os.getpid()}: cut off, no HELLO within 10 s": 1
        }
        ours.close()


def test_a_local_peer_is_let_in_where_the_system_does_not_say_which_process_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert connections._place(ours.fileno()) == (f"pid {os.getpid()}", os.getpid())
        monkeypatch.delattr("_socket.SO_PEERCRED")  # macOS
        assert connections._place(ours.fileno()) == ("unknown peer", 0)
