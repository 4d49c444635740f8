"""Command lines and scenarios that make no sense: refused with a reason, with the place, and nothing is started."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scenarios import Place, place_in


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_in(tmp_path) as place:
        yield place


GOOD = '[units.one]\ncommand = ["true"]\n'


def test_the_command_alone_runs_what_is_here(place: Place) -> None:
    place.write(GOOD.replace('"true"', '"false"'))
    run = place.run(expect=1)
    assert run.findings() == [("unit-failed", "one")]
    assert run.folder.path.parent == place.folder.resolve() / ".circuit" / "runs"


def test_the_command_alone_in_a_folder_without_a_scenario_says_what_to_do_and_is_no_success(place: Place) -> None:
    run = place.run(expect=5)
    assert run.out == ""
    assert run.err == (
        "no scenario here or below: there is no circuit.toml; `circuit-run init` writes a first one, "
        "`circuit-run PATH` runs one elsewhere, `circuit-run --help` lists the commands\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--what", "."), 4, "--what"),
        (("nowhere",), 4, "nowhere"),
        (("empty",), 5, "empty"),
        ((".", "--env", "rubbish"), 4, "--env rubbish: expected KEY=VALUE"),
        ((".", "--timeout", "soon"), 4, "soon"),
        ((".", "--repeat", "0"), 4, "repeat"),
        ((".", "--runs", "circuit.toml"), 4, "circuit.toml"),
        ((".", "--json", "no/such/folder.json"), 4, "--json no/such/folder.json: there is no folder no/such"),
        ((".", "--less", "scenario"), 5, "less"),
        (("show",), 4, "there is no run yet"),
        (("show", "nothing"), 4, "no run 'nothing'"),
        (("verify", "empty"), 4, "empty is a folder without events.log"),
        (("watch",), 4, "there is no run yet"),
        (("watch", "ipc:///nowhere"), 3, "no broker answers at ipc:///nowhere"),
        (("broker", "--listen", "nonsense"), 4, "nonsense"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_reported_why_in_a_line_or_two(
    place: Place, words: tuple[str, ...], code: int, said: str
) -> None:
    place.write('[scenario]\nname = "scenario"\n' + GOOD)
    (place.folder / "empty").mkdir()
    run = place.run(*words)
    assert run.code == code, run.text
    assert said in run.err
    assert run.out == ""
    assert "Traceback" not in run.err
    assert len(run.err.splitlines()) <= 3
    assert not list((place.folder / ".circuit").glob("runs/*"))


def test_check_names_every_mistake_with_its_line_and_what_may_have_been_meant(place: Place) -> None:
    place.write(
        """\
        [scenario]
        tiemout = "5s"
        [units.api]
        command = ["true"]
        after = ["wroker"]
        [units.worker]
        entrypoint = 17
        after = ["api"]
        [circuits.order]
        path = ["ap: sent", "worker: got"]
        within = "soon"
        """
    )
    run = place.run("check", expect=4)
    for line, words in (
        (2, 'scenario.tiemout is not known; did you mean "timeout"?'),
        (5, 'units.api.after[0] names unit "wroker"; did you mean "worker"?'),
        (7, "units.worker.entrypoint"),
        (10, 'circuits.order.path[0] names unit "ap"; did you mean "api"?'),
        (11, "circuits.order.within is not a duration"),
    ):
        assert any(f"(line {line})" in said and words in said for said in run.err.splitlines()), run.err
    assert "Traceback" not in run.err
    same = place.run(".", expect=4)
    assert same.err == run.err
    assert not (place.folder / ".circuit").exists()


def test_check_names_units_that_wait_for_each_other(place: Place) -> None:
    place.write('[units.a]\ncommand = ["true"]\nafter = ["b"]\n[units.b]\ncommand = ["true"]\nafter = ["a"]\n')
    printed = place.run("check", expect=4).err
    assert "units." in printed
    assert "a -> b" in printed or "b -> a" in printed


def test_a_broker_that_is_not_there_is_all_that_is_said_of_a_run_that_never_began(place: Place) -> None:
    place.write(GOOD)
    run = place.run(".", "--broker", "tcp://127.0.0.1:1", expect=3)
    assert run.err == "no broker answers at tcp://127.0.0.1:1 within 10 s; is it running?\n"


def test_an_agent_that_meets_no_broker_says_so_once_and_goes_on(place: Place) -> None:
    with place.start("agent", "--join", "tcp://127.0.0.1:1", "--name", "lab-1") as agent:
        agent.until("agent lab-1 meets no broker at tcp://127.0.0.1:1 yet, and goes on trying")
        agent.signal(signal.SIGTERM)
        run = agent.end()
    assert (run.code, run.out.count("meets no broker")) == (0, 1)
