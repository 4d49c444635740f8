"""Keys of a run: what a host was given is good for what runs there, in that run, and nothing else has left the desk.

The other host is played by a script in the place of ssh, which runs here what it has to run there.
"""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import log
from broker.keyring import add, create
from probe import keys, wire
from probe.message import Issue, Names
from runner.adapters.launch.ownership import AT_ONCE, RunKeys, names_of, spoken_on, write_down
from runner.model.scenario.model import Host, Scenario, Unit
from tests.support.broker_process import BrokerProcess
from tests.support.scenarios import Place, place_in

LAB_1 = Host("lab-1", ssh="lab-1", speaks_for=("lens-*",))
LAB_2 = Host("lab-2", agent=True)
SCENARIO = Scenario(
    "s",
    "/s",
    "circuit.toml",
    (
        Unit("api", command=("x",)),
        Unit("camera[1]", command=("x",), host="lab-1"),
        Unit("store", command=("x",), host="lab-2"),
        Unit("phone", launcher="external"),
    ),
    hosts=(LAB_1, LAB_2, Host("lab-3", ssh="lab-3")),
)


def test_a_host_speaks_for_what_runs_there_and_what_it_says_besides() -> None:
    assert spoken_on(SCENARIO, LAB_1) == ("camera[[]1]", "lens-*")
    assert spoken_on(SCENARIO, LAB_2) == ("store",)


def test_each_name_belongs_to_the_supervisor_that_starts_it_and_an_external_one_has_no_owner_yet() -> None:
    (names,) = names_of(SCENARIO)
    assert names.owners == {
        "@local": "@local",
        "@lab-1": "@lab-1",
        "@lab-2": "@lab-2",
        "api": "@local",
        "camera[1]": "@lab-1",
        "store": "@lab-2",
    }


def test_names_of_any_length_and_number_fit_into_messages(tmp_path: Path) -> None:
    units = tuple(Unit(f"{number:0200}", command=("x",)) for number in range(1000))
    names = names_of(Scenario("s", "/s", "circuit.toml", units))
    assert len(names) == 1000 // AT_ONCE + 1
    write_down(names, tmp_path / "events.log")
    assert [entry.message for entry in log.scan(tmp_path / "events.log")] == list(names)


def test_the_keys_of_a_run_are_made_from_nothing_but_the_brokers_public_key(tmp_path: Path) -> None:
    broker = keys.made("broker", "")
    made = RunKeys(broker.public, SCENARIO, tmp_path / "keys")
    local, local_units, lab_1 = made.issues
    assert (local.name, local.role, local.units) == ("@local", "agent", ("@local", "*"))
    assert (local_units.name, local_units.role, local_units.units) == ("@local/units", "unit", ("*",))
    assert (lab_1.name, lab_1.role, lab_1.units) == ("@lab-1", "agent", ("@lab-1", "camera[[]1]", "lens-*"))
    units, supervisor = (keys.load(Path(file)) for file in made.files)
    there = keys.parse(made.of("lab-1"), "its config")
    publics = [local.public, local_units.public, lab_1.public]
    assert [supervisor.public, units.public, there.public] == publics
    assert len({*publics, broker.public}) == 4
    assert {each.broker for each in (units, supervisor, there)} == {broker.public}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for message in (*made.issues, *names_of(SCENARIO)):
        assert isinstance(wire.decode([bytes(frame) for frame in wire.encode(message)])[0], Issue | Names)


# --- a run on the broker of a lab -------------------------------------------------------------------------------------

FAR = f"""\
[scenario]
name = "far"
timeout = "40s"
[hosts.lab-1]
ssh = "lab-1"
python = {sys.executable!r}
[units.desk]
entrypoint = "units:desk"
[units.camera]
entrypoint = "units:camera"
host = "lab-1"
after = ["desk"]
[circuits.call]
path = ["desk: asked", "camera: answered"]
instances = 1
"""
CODE = """\
import os, pathlib
import probe, zmq
from probe import keys, wire
from probe import message as m

def attempt(file, role, run, unit):
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        keys.load(file).secure(socket)
        socket.connect(os.environ["CIRCUIT_BROKER"])
        socket.send_multipart(wire.encode(m.Hello(1, role, run, unit, 1 << 40)))
        return type(wire.decode(socket.recv_multipart())[0]).__name__ if socket.poll(10_000) else "silence"

def desk():
    probe.emit("asked", key="1")
    probe.wait("camera: answered", timeout=30)

def camera():
    run, given = os.environ["CIRCUIT_RUN"], pathlib.Path(os.environ["CIRCUIT_KEYS"])
    for file in sorted(given.parent.glob("*keys")):
        print("GIVEN", keys.load(file).name, flush=True)
        for role, where, unit in [
            ("runner", run, ""), ("runner", "run-2", ""), ("watcher", run, ""), ("unit", run, "desk"),
            ("unit", run, "ghost"), ("unit", "run-2", "camera"), ("agent", run, "@local"), ("agent", run, "@lab-2"),
        ]:
            print("TRIED", role, where == run, unit, attempt(file, role, where, unit), flush=True)
    probe.emit("answered", key="1")
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path / "desk") as place:
        place.folder.mkdir()
        yield place


@pytest.fixture
def ssh(tmp_path: Path) -> dict[str, str]:
    """The environment in which ssh runs here, with a home of its own, what it has to run there."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "ssh"
    script.write_text(
        '#!/bin/sh\n[ "$1" = -G ] && exit\nfor word; do last=$word; done\n'
        f'exec env XDG_STATE_HOME={tmp_path}/lab-1 sh -c "$last"\n'
    )
    script.chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def test_what_a_host_was_given_opens_nothing_but_what_runs_there(
    place: Place, tmp_path: Path, ssh: dict[str, str]
) -> None:
    ring, logs = tmp_path / "ring", tmp_path / "logs"
    create(ring)
    anna = add(ring, "anna", roles=["runner", "agent", "unit"], units=["*", "@*"])
    broker = BrokerProcess(logs, "--keys", str(ring), listen="tcp://127.0.0.1:0", run=None)
    try:
        place.write(FAR, CODE)
        run = place.run("--plain", "--broker", broker.endpoint, "--keys", anna, env=ssh)
        assert run.code == 0, run.text
        said = (run.folder.units / "camera.out").read_text().splitlines()
        assert [line for line in said if line.startswith("GIVEN")] == ["GIVEN @lab-1", "GIVEN @lab-1/units"]
        tried = [line for line in said if line.startswith("TRIED")]
        assert len(tried) == 16
        assert [line for line in tried if not line.endswith(" Refused")] == []
        secret = keys.load(anna).secret
        for folder in (run.folder.path, logs):
            assert not [path for path in folder.rglob("*") if path.is_file() and secret in path.read_text("latin-1")]
        assert not (run.folder.path / "keys").exists()
    finally:
        broker.stop()


def test_the_units_of_the_desk_have_keys_of_the_run_and_not_the_runners(place: Place, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    create(ring)
    anna = add(ring, "anna", roles=["runner", "agent", "unit"], units=["*", "@*"])
    broker = BrokerProcess(tmp_path / "logs", "--keys", str(ring), listen="tcp://127.0.0.1:0", run=None)
    try:
        code = """\
            import os, probe
            from probe import keys
            def desk():
                print("GIVEN", keys.read(os.environ["CIRCUIT_KEYS"], "tcp:").name)
                probe.emit("asked")
                probe.unit("another").emit("helped")
        """
        place.write('[scenario]\nname = "near"\ntimeout = "30s"\n[units.desk]\nentrypoint = "units:desk"\n', code)
        run = place.run("--plain", "--broker", broker.endpoint, "--keys", anna, expect=0)
        assert "GIVEN @local/units" in run.printed("desk")
        assert run.result["evidence"]["received"] == 2
    finally:
        broker.stop()
