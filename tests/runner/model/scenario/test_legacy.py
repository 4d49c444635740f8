"""A legacy folder becomes a scenario without a line of it being changed or imported."""

from pathlib import Path

import pytest

from runner.model.errors import ScenarioError
from runner.model.scenario import load
from runner.model.scenario.legacy import is_group
from runner.model.scenario.legacy_functions import look
from runner.model.scenario.model import Legacy, LegacyTest, Unit

SOURCE = """\
["source"]
init = 1
enabled = true
entrypoint = "test_case:run_source"
ready_event = "source-ready"
ready_timeout = 5
timeout = 2.5
use_setup = false
in-except = "Reload"
unit_dependencies = ["target"]
events = ["source-ready", "command-sent"]
"""
TARGET = '["target"]\ninit = 0\nentrypoint = "test_case:run_target"\nevents = ["target-ready"]\n'


def group(folder: Path, configs: str, **units: str) -> Path:
    """A folder of the legacy shape with these texts."""
    (folder / "units").mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(f'["Configs"]\n{configs}\n')
    for name, text in units.items():
        (folder / "units" / f"{name}.toml").write_text(text)
    return folder


def unit(name: str, init: int, more: str = "") -> str:
    return f'["{name}"]\ninit = {init}\nentrypoint = "test_case:{name}"\nevents = []\n{more}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("test_group")


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load(folder)
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_a_group_is_a_scenario_named_after_its_folder(here: Path) -> None:
    scenario = load(group(here, 'units = ["target", "source"]', source=SOURCE, target=TARGET))
    assert (scenario.name, scenario.folder, scenario.file) == ("test_group", str(here.absolute()), "config.toml")
    assert (scenario.timeout_ns, scenario.repeat, scenario.circuits) == (30_000_000_000, 1, ())
    assert scenario.legacy == Legacy()
    assert scenario.notes == ()
    assert scenario.units == (
        Unit(
            "target",
            entrypoint="test_case:run_target",
            ready_timeout_ns=10_000_000_000,
            expect=("target-ready",),
            service=False,
        ),
        Unit(
            "source",
            entrypoint="test_case:run_source",
            ready="source-ready",
            ready_timeout_ns=5_000_000_000,
            after=("target",),
            expect=("source-ready", "command-sent"),
            timeout_ns=2_500_000_000,
            restart="on-failure",
            service=False,
        ),
    )


def test_units_start_one_after_the_other_by_init(here: Path) -> None:
    group(here, 'units = ["c", "a", "b"]', a=unit("a", 1), b=unit("b", 5), c=unit("c", 9))
    units = load(here).units
    assert [(unit.name, unit.after) for unit in units] == [("a", ()), ("b", ("a",)), ("c", ("b",))]


def test_a_dependency_goes_before_init(here: Path) -> None:
    group(
        here,
        'units = ["a", "b", "c"]',
        a=unit("a", 0, 'unit_dependencies = ["c"]'),
        b=unit("b", 1),
        c=unit("c", 2),
    )
    units = load(here).units
    assert [(unit.name, unit.after) for unit in units] == [("c", ()), ("a", ("c",)), ("b", ("a",))]


def test_a_disabled_unit_is_left_out(here: Path) -> None:
    group(here, 'units = ["a", "b"]', a=unit("a", 0, "enabled = false"), b=unit("b", 1))
    assert [unit.name for unit in load(here).units] == ["b"]


def test_a_unit_file_that_the_config_does_not_name_is_left_alone(here: Path) -> None:
    group(here, 'units = ["a"]', a=unit("a", 0), z="this is no TOML")
    assert [unit.name for unit in load(here).units] == ["a"]


def test_a_unit_without_an_entrypoint_is_spoken_for_by_test_functions(here: Path) -> None:
    group(here, 'units = ["a", "b"]', a='["a"]\ninit = 0\nevents = ["seen"]\n', b=unit("b", 1))
    silent, started = load(here).units
    assert (silent.launcher, silent.expect, silent.after) == ("external", ("seen",), ())
    assert started.after == ()


def test_setup_runs_as_a_service_of_its_own_and_units_that_use_it_wait_for_it(here: Path) -> None:
    group(here, 'units = ["a", "b"]', a=unit("a", 0, "use_setup = true"), b=unit("b", 1))
    (here / "setup.py").write_text("def main():\n    ...\n")
    setup, a, b = load(here).units
    assert setup == Unit("setup", entrypoint="setup:main", service=True)
    assert (a.after, b.after) == (("setup",), ("a",))


def test_what_a_unit_says_about_exceptions_becomes_a_restart(here: Path) -> None:
    group(
        here,
        'units = ["a", "b", "c"]',
        a=unit("a", 0, 'in-except = "Resume"'),
        b=unit("b", 1, 'in-except = "Reload"'),
        c=unit("c", 2, 'in-except = "Resume-ALL"'),
    )
    scenario = load(here)
    assert [unit.restart for unit in scenario.units] == ["never", "on-failure", "never"]
    assert scenario.legacy is not None
    assert scenario.legacy.restart_all == ("c",)


CONFIGS = """\
units = ["a"]
enabled = false
timeout = 1.5
repeat = 10
debug-modes = ["INFO", "EXCEPT"]
test-modes = "All"
use-ai = false
diagnostics = false
detect-bad-behavior = false
save-resume = false
gen-metrics = false
save-metrics = false
save-scores = false
"""


def test_every_option_of_a_group_is_kept(here: Path) -> None:
    scenario = load(group(here, CONFIGS, a=unit("a", 0)))
    assert (scenario.timeout_ns, scenario.repeat) == (1_500_000_000, 11)
    assert scenario.legacy == Legacy(
        enabled=False,
        debug_modes=("INFO", "EXCEPT"),
        test_modes=("DEBUG", "INFO", "WARNING", "EXCEPT"),
        diagnostics=False,
        detect_bad_behavior=False,
        gen_metrics=False,
        save_metrics=False,
        save_scores=False,
        save_resume=False,
    )


def test_earlier_spellings_are_taken_with_a_note_and_newer_ones_win(here: Path) -> None:
    group(
        here,
        'units = ["a", "b"]\nanalitics = false\nsave-analitics = false\nsave-performance = false\nsave-scores = true',
        a=unit("a", 0),
        b=unit("b", 1, 'unity_depencies = ["a"]'),
    )
    scenario = load(here)
    assert scenario.legacy == Legacy(gen_metrics=False, save_metrics=False, save_scores=True)
    assert scenario.units[1].after == ("a",)
    assert scenario.notes == (
        "config.toml: Configs.analitics is an earlier spelling; write gen-metrics",
        "config.toml: Configs.save-analitics is an earlier spelling; write save-metrics",
        "config.toml: Configs.save-performance is an earlier spelling; write save-scores",
        "units/b.toml: b.unity_depencies is an earlier spelling; write unit_dependencies",
    )


def test_an_unknown_key_does_nothing_as_before_and_is_noted(here: Path) -> None:
    group(here, 'units = ["a"]\ntimout = 5', a=unit("a", 0, "after = []"))
    assert load(here).notes == (
        'config.toml: Configs.timout is not known and does nothing; did you mean "timeout"?',
        *(
            note
            for note in load(here).notes[1:]
            if note.startswith("units/a.toml: a.after is not known and does nothing")
        ),
    )


def test_nothing_may_ask_a_language_model(here: Path) -> None:
    group(here, 'units = ["a"]\nuse-ai = true', a=unit("a", 0))
    assert mistakes(here) == [
        "config.toml: Configs.use-ai is true, and nothing here asks a language model; say use-ai = false   (line 3)"
    ]


def test_mistakes_of_all_files_come_together(here: Path) -> None:
    group(
        here,
        'units = ["a", "b", "c", "d", "e", 5]\nrepeat = 11\ntimeout = 0\ndebug-modes = ["LOUD"]\ntest-modes = "info"',
        a='["a"]\ninit = 0\nentrypoint = "run"\nready_timeout = -1\nevents = ["x", 1]\nin-except = "reload"\n',
        b='["b"]\ninit = 0\nunit_dependencies = ["nobody", "off"]\n',
        c="[other]\n",
        d="[d\n",
    )
    (here / "broken.py").write_text("def f(:\n")
    (here / "setup.py").write_text("value = 1\n")
    assert mistakes(here) == [
        "config.toml: Configs.units[5] expected a string, found an integer 5   (line 2)",
        'config.toml: Configs.units names "e", and there is no units/e.toml; known: a, b, c, d   (line 2)',
        "config.toml: Configs.repeat expected an integer from 0 to 10, found an integer 11   (line 3)",
        "config.toml: Configs.timeout expected a positive number of seconds, found an integer 0   (line 4)",
        'config.toml: Configs.debug-modes[0] expected "DEBUG" or "INFO" or "WARNING" or "EXCEPT", found a string "LOUD"'
        "   (line 5)",
        'config.toml: Configs.test-modes expected "All" or "DEBUG" or "INFO" or "WARNING" or "EXCEPT", found a string '
        '"info"; did you mean "INFO"?   (line 6)',
        'units/a.toml: a.entrypoint expected "module:function", found a string "run"   (line 3)',
        "units/a.toml: a.ready_timeout expected a positive number of seconds, found an integer -1   (line 4)",
        "units/a.toml: a.events[1] expected a string, found an integer 1   (line 5)",
        'units/a.toml: a.in-except expected "Resume" or "Reload" or "Resume-ALL", found a string "reload"; did you '
        'mean "Reload"?   (line 6)',
        'units/b.toml: b.init is 0, which is the place of "a" already; give each its own   (line 2)',
        'units/b.toml: b.unit_dependencies names unit "nobody"; units are a, b   (line 3)',
        'units/b.toml: b.unit_dependencies names unit "off"; units are a, b   (line 3)',
        'units/c.toml: has no table ["c"]; known: other',
        "broken.py: is not Python: invalid syntax   (line 1)",
        "setup.py: has no function main(), which is what a setup runs",
        "units/d.toml: is not TOML: Expected ']' at the end of a table declaration   (line 1)",
    ]


def test_dependencies_that_cannot_be_met_are_named(here: Path) -> None:
    group(
        here,
        'units = ["a", "b", "c", "off"]',
        a=unit("a", 0, 'unit_dependencies = ["b"]'),
        b=unit("b", 1, 'unit_dependencies = ["a"]'),
        c=unit("c", 2, 'unit_dependencies = ["off"]'),
        off=unit("off", 3, "enabled = false"),
    )
    assert mistakes(here) == [
        "units/a.toml: a.unit_dependencies makes a cycle: a -> b -> a; none of them can start   (line 5)",
        'units/c.toml: c.unit_dependencies names unit "off", which is disabled   (line 5)',
    ]


def test_a_group_that_starts_nothing_is_refused(here: Path) -> None:
    group(here, 'units = ["a"]', a='["a"]\ninit = 0\nevents = ["seen"]\n')
    assert mistakes(here) == [
        "config.toml: Configs starts nothing: no enabled unit has an entrypoint, and no test_* is there   (line 1)"
    ]


def test_a_unit_may_not_take_the_name_of_the_setup(here: Path) -> None:
    group(here, 'units = ["setup"]', setup=unit("setup", 0))
    assert [found.name for found in load(here).units] == ["setup"]
    (here / "setup.py").write_text("def main(): ...\n")
    assert mistakes(here) == [
        "units/setup.toml: setup has the name under which setup.py runs; give the unit another one   (line 1)"
    ]


def test_a_folder_is_a_group_when_it_has_both_halves(tmp_path: Path) -> None:
    folder = group(tmp_path, "units = []")
    assert is_group(folder)
    (folder / "config.toml").write_text("[tool]\n")
    assert not is_group(folder)
    (folder / "config.toml").write_text("[Configs\n")
    assert is_group(folder)  # so that the mistake is shown
    (folder / "units").rmdir()
    assert not is_group(folder)


# --- the Python files beside the units --------------------------------------------------------------------------------

TESTS = """\
from testrium.common import utils
from testrium.common.utils import test_config
from cases import test_imported, test_late, helper as test_helper

def run_unit(): ...
def test_plain(): ...
@test_config(priority=-1)
def test_first(): ...
@utils.test_config(2, True)
def test_parallel(): ...
@test_config(2)
def test_late(): ...
@test_config(priority=level())
def test_computed(): ...
def test_results(): ...
def validate_test(name): ...
class Case:
    def test_method(self): ...
if True:
    def test_hidden(): ...
"""


def test_test_functions_are_found_with_their_order_and_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "test_case.py").write_text(TESTS)
    (tmp_path / "cases.py").write_text("raise SystemExit\ndef test_imported(): ...\n")
    (tmp_path / "_private.py").write_text("def test_private(): ...\n")
    (tmp_path / "setup.py").write_text("def main(): ...\ndef test_in_setup(): ...\ndef tests_results(data): ...\n")
    (tmp_path / "zz.py").write_text("from elsewhere import validate_test\n")
    beside = look(tmp_path)
    assert beside.tests == (
        LegacyTest("test_case:test_first", -1),
        LegacyTest("cases:test_imported"),
        LegacyTest("test_case:test_computed"),
        LegacyTest("test_case:test_plain"),
        LegacyTest("test_case:test_helper"),
        LegacyTest("test_case:test_late", 2),
        LegacyTest("test_case:test_parallel", 2, parallelize=True),
    )
    assert beside.callbacks == {"validate_test": "test_case:validate_test", "tests_results": "setup:tests_results"}
    assert beside.setup == "setup:main"
    assert beside.mistakes == []
    assert beside.notes == [
        "test_config of test_case:test_computed is not in plain values; priority 0 is taken, not in parallel",
        "validate_test is defined twice; test_case:validate_test is called, zz:validate_test is not",
    ]
