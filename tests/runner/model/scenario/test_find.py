"""Paths on a command line become scenarios, or a sentence that says what to do instead."""

from pathlib import Path

import pytest

from runner.model.errors import ExitCode, NothingToRun, ScenarioError, UsageError
from runner.model.scenario import discover, load, override
from runner.model.scenario.model import Unit

ONE = '[units.a]\nentrypoint = "m:f"\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path()


def circuit(folder: Path, name: str = "", text: str = ONE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "circuit.toml").write_text(f'[scenario]\nname = "{name}"\n{text}' if name else text)
    return folder


def group(folder: Path, configs: str = "") -> Path:
    (folder / "units").mkdir(parents=True)
    (folder / "config.toml").write_text(f'["Configs"]\nunits = ["a"]\n{configs}\n')
    (folder / "units" / "a.toml").write_text('["a"]\ninit = 0\nentrypoint = "m:f"\nevents = []\n')
    return folder


def names(*paths: Path, less: tuple[str, ...] = ()) -> list[str]:
    return [scenario.name for scenario in discover(paths, less)]


def test_a_scenario_is_named_by_its_file_or_by_its_folder(here: Path) -> None:
    circuit(here / "flow")
    group(here / "test_flow")
    assert load(here / "flow").name == load(here / "flow" / "circuit.toml").name == "flow"
    assert load(here / "test_flow").name == load(here / "test_flow" / "config.toml").name == "test_flow"


def test_everything_below_a_folder_is_found_in_order(here: Path) -> None:
    circuit(here / "b" / "deep")
    circuit(here / "a")
    group(here / "b" / "tests")
    (here / "c").mkdir()
    assert names(here) == ["a", "deep", "tests"]


def test_what_stands_below_a_scenario_belongs_to_it(here: Path) -> None:
    circuit(here / "a")
    circuit(here / "a" / "copy")
    assert names(here) == ["a"]


def test_a_scenario_named_twice_runs_once_in_the_order_given(here: Path) -> None:
    circuit(here / "a")
    circuit(here / "b")
    assert names(here / "b", here, here / "a") == ["b", "a"]


def test_hidden_folders_and_what_others_installed_are_skipped(here: Path) -> None:
    for folder in (".circuit", "node_modules", "__pycache__", "env"):
        circuit(here / folder)
    (here / "env" / "pyvenv.cfg").touch()
    (here / "loop").symlink_to(here.absolute())
    circuit(here / "a")
    assert names(here) == ["a"]


def test_less_leaves_out_by_name_or_folder_even_what_is_broken(here: Path) -> None:
    circuit(here / "a", "first")
    circuit(here / "b", "second")
    circuit(here / "c", text="broken")
    circuit(here / "d", "wrong", "[units]\n")
    group(here / "e")
    assert names(here, less=("first", "c", "wrong", "e")) == ["second"]
    assert names(here, less=("a", "c", "d")) == ["second", "e"]


def test_less_of_an_unknown_name_is_a_usage_error(here: Path) -> None:
    circuit(here / "a", "first")
    with pytest.raises(UsageError, match=r'^--less frist: no scenario has this name; did you mean "first"\?$'):
        discover([here], ("frist",))


def test_a_path_that_does_not_exist_is_a_usage_error(here: Path) -> None:
    circuit(here / "orders")
    with pytest.raises(UsageError, match=r'^oders does not exist; did you mean "orders"\?$') as caught:
        discover([here / "oders"])
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_file_that_is_no_scenario_is_a_usage_error(here: Path) -> None:
    (here / "units.py").touch()
    with pytest.raises(UsageError, match=r"^units.py is no scenario; give a circuit.toml, or a folder that has one$"):
        load(here / "units.py")


def test_nothing_to_run_says_how_to_get_something(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(
        NothingToRun, match=r"^no scenario at or below empty: there is no circuit.toml; .*init"
    ) as caught:
        discover([here / "empty"])
    assert caught.value.exit_code is ExitCode.NOTHING
    with pytest.raises(NothingToRun, match=r"^empty is no scenario: it needs a circuit.toml, which `circuit-run init"):
        load(here / "empty")


def test_nothing_left_says_why(here: Path) -> None:
    circuit(here / "a")
    with pytest.raises(NothingToRun, match=r"^--less leaves out every scenario here or below; name fewer$"):
        discover([here], ("a",))
    group(here / "off", "enabled = false")
    with pytest.raises(NothingToRun, match=r"^every scenario left is disabled \(off\); say enabled = true in its conf"):
        discover([here], ("a",))
    assert names(here) == ["a"]


def test_mistakes_of_all_scenarios_come_together(here: Path) -> None:
    circuit(here / "a", text="[units]\n")
    circuit(here / "b")
    circuit(here / "c", text="[unit]\n")
    with pytest.raises(ScenarioError) as caught:
        discover([here])
    assert [mistake.file for mistake in caught.value.mistakes] == ["a/circuit.toml", "c/circuit.toml", "c/circuit.toml"]


def test_nesting_without_end_is_a_mistake_and_no_crash(here: Path) -> None:
    deep = "{ all = [" * 5_000 + '"a: x"' + "] }" * 5_000
    circuit(here / "a", text=f'{ONE}[circuits.c]\npath = ["a: y", {deep}]\n')
    with pytest.raises(ScenarioError, match=r"^a/circuit.toml: is nested too deep to be read$"):
        discover([here])


def test_a_command_line_overrides_the_file(here: Path) -> None:
    circuit(
        here / "a", text='[scenario]\nenv = { A = "1", B = "1" }\n[units.u]\ncommand = "x"\nenv = { A = "2", C = "2" }'
    )
    scenario = override(load(here / "a"), timeout="1m", repeat=4, env={"A": "3", "D": "3"})
    assert (scenario.timeout_ns, scenario.repeat) == (60_000_000_000, 4)
    assert scenario.env == {"A": "3", "B": "1", "D": "3"}
    assert scenario.units == (Unit("u", command=("x",), env={"A": "3", "C": "2"}),)


def test_without_overrides_a_scenario_stays_as_it_is(here: Path) -> None:
    scenario = load(circuit(here / "a"))
    assert override(scenario) == scenario


@pytest.mark.parametrize("text", ["30", "0s", "soon"])
def test_a_time_that_is_none_is_a_usage_error(here: Path, text: str) -> None:
    scenario = load(circuit(here / "a"))
    with pytest.raises(UsageError, match=rf'^--timeout {text}: expected a duration such as "30s" or "1m30s"$'):
        override(scenario, timeout=text)
