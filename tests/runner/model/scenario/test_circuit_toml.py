"""A circuit.toml becomes a scenario, or all of its mistakes at once, each with its place and its line."""

from pathlib import Path

import pytest

from runner.core.verifier import Verifier
from runner.model.errors import ExitCode, ScenarioError
from runner.model.scenario import load
from runner.model.scenario.model import (
    All,
    Barrier,
    Budget,
    Callback,
    Circuit,
    Instances,
    Optional,
    Probe,
    Quorum,
    Unit,
)

UNITS = """\
[units]
api.command = "api"
worker-1.command = "worker"
worker-2.command = "worker"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistakes(text: str) -> list[str]:
    """What `load` says about a circuit.toml with this text, without the name of the file."""
    Path("circuit.toml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        load(Path("circuit.toml"))
    return [str(mistake).removeprefix("circuit.toml: ") for mistake in caught.value.mistakes]


EVERYTHING = """\
[scenario]
name = "order-flow"
timeout = "30s"
settle = "0s"
repeat = 3
env = { LEVEL = "debug" }
setup = "prepare:main"
check = "shop.checks:totals"

[units.db]
command = "sqlite-server --port 0 'a b'"
stop_timeout = "0s"
exit_codes = [0, -15]
service = true

[units.worker-1]
entrypoint = "shop:worker"
ready = "worker-ready"
ready_timeout = "3s"
after = ["db"]
expect = ["worker-ready", "row-written"]
env = { N = "1" }
cwd = "data"
timeout = "20s"
restart = "on-failure"
launcher = "local"
host = "local"

[units.worker-2]
command = ["./worker", "2"]

[units.phone]
launcher = "external"

[circuits.order]
path = [
  "phone: order-sent",
  { probe = "worker-*: got", within = "50ms", times = "1..2", where = { ok = true, n = 1 } },
  { each = "worker-*: heard" },
  { all = ["db: a", { any = ["worker-?: b", "db: b"] }], within = "1s" },
  { quorum = 2, of = ["db: c", "worker-1: c", { probe = "worker-2: c", times = 3 }] },
  { optional = { probe = "db: cached", where = { hit = true } } },
  { probe = "db:row-written", rekey = "row_id" },
]
within = "200ms"
instances = ">= 1"
budget = { p50 = "1ms", p90 = "2ms", p99 = "20ms", max = "1s" }
hop_budgets = { "db: row-written" = { p99 = "5ms" } }
never = ["worker-*: dead-letter", { probe = "db: got", where = { ok = false } }]

[barriers.go]
parties = ["worker-*", "db"]
timeout = "5s"
[barriers.all]
"""


def test_every_key_arrives_where_it_belongs(here: Path) -> None:
    (here / "circuit.toml").write_text(EVERYTHING)
    scenario = load(here / "circuit.toml")
    assert (scenario.name, scenario.folder, scenario.file) == ("order-flow", str(here), "circuit.toml")
    assert (scenario.timeout_ns, scenario.settle_ns, scenario.repeat) == (30_000_000_000, 0, 3)
    assert scenario.env == {"LEVEL": "debug"}
    assert (scenario.setup, scenario.check) == (Callback("prepare:main"), Callback("shop.checks:totals"))
    assert scenario.legacy is None
    assert scenario.units == (
        Unit(
            "db",
            command=("sqlite-server", "--port", "0", "a b"),
            stop_timeout_ns=0,
            exit_codes=(0, -15),
            service=True,
        ),
        Unit(
            "worker-1",
            entrypoint="shop:worker",
            ready="worker-ready",
            ready_timeout_ns=3_000_000_000,
            after=("db",),
            expect=("worker-ready", "row-written"),
            env={"N": "1"},
            cwd="data",
            timeout_ns=20_000_000_000,
            restart="on-failure",
        ),
        Unit("worker-2", command=("./worker", "2")),
        Unit("phone", launcher="external"),
    )
    assert scenario.circuits == (
        Circuit(
            "order",
            (
                Probe("phone", "order-sent"),
                Probe("worker-*", "got", at_most=2, where={"ok": True, "n": 1}, within_ns=50_000_000),
                Probe("worker-*", "heard", each=True),
                All((Probe("db", "a"), Quorum(1, (Probe("worker-?", "b"), Probe("db", "b")))), within_ns=10**9),
                Quorum(2, (Probe("db", "c"), Probe("worker-1", "c"), Probe("worker-2", "c", at_least=3, at_most=3))),
                Optional(Probe("db", "cached", where={"hit": True})),
                Probe("db", "row-written", rekey="row_id"),
            ),
            within_ns=200_000_000,
            instances=Instances(1, None),
            budget=Budget(1_000_000, 2_000_000, 20_000_000, 10**9),
            hop_budgets={"db: row-written": Budget(p99_ns=5_000_000)},
            never=(Probe("worker-*", "dead-letter"), Probe("db", "got", where={"ok": False})),
        ),
    )
    assert scenario.barriers == (Barrier("go", ("worker-*", "db"), 5_000_000_000), Barrier("all"))


def test_what_a_file_does_not_say_is_as_the_model_has_it(here: Path) -> None:
    (here / "circuit.toml").write_text('[units.a]\nentrypoint = "m:f"\n')
    scenario = load(here)
    assert scenario.name == here.name
    assert scenario.units == (Unit("a", entrypoint="m:f"),)
    (here / "lost.toml").write_text('[units.a]\nentrypoint = "m:f"\n')
    assert load(here / "lost.toml").name == "lost"


def test_a_setup_that_is_no_function_is_a_command(here: Path) -> None:
    (here / "circuit.toml").write_text('[scenario]\nsetup = "make data"\n' + UNITS)
    assert load(here).setup == Callback(command=("make", "data"))
    (here / "circuit.toml").write_text('[scenario]\nsetup = ["make", "data"]\n' + UNITS)
    assert load(here).setup == Callback(command=("make", "data"))


CASES = dict(
    case.split("\n", 1) for case in Path(__file__).with_name("scenario_mistakes.txt").read_text().split("\n=== ")[1:]
)


def expected(text: str) -> list[str]:
    """The mistakes that the lines "#! ..." of a case promise, each with the line it stands below."""
    found: list[tuple[int, str]] = []
    last = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#! "):
            found.append((last, line.removeprefix("#! ")))
        else:
            last = number
    return [f"{sentence}   (line {line})" if line else sentence for line, sentence in found]


@pytest.mark.parametrize("title", CASES)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_named_by_its_path_and_line(title: str) -> None:
    assert mistakes(CASES[title]) == expected(CASES[title])


def test_the_same_step_of_different_units_is_no_repetition(here: Path) -> None:
    (here / "circuit.toml").write_text(UNITS + '[circuits.c]\npath = ["api: a", "worker-1: a", "worker-2: a"]\n')
    assert len(load(here).circuits[0].path) == 3


EVERY_FORM = """
path = [
  "api: a",
  "worker-1: b",
  { each = "worker-*: c" },
  { all = ["api: d", { any = ["worker-1: e", "worker-2: e"] }] },
  { quorum = 2, of = ["api: f", "worker-1: f", "worker-2: f"] },
  { optional = "api: g" },
  { probe = "api: h", times = "1..2", where = { kind = "first", n = 1 } },
  { probe = "api: h", where = { kind = "last" } },
]
"""


def test_a_hop_has_its_budget_under_the_name_that_is_printed(here: Path) -> None:
    (here / "circuit.toml").write_text(UNITS + "[circuits.c]" + EVERY_FORM)
    (circuit,) = Verifier(load(here)).circuits()
    printed = [hop.target for hop in circuit.hops]
    assert printed == [
        "worker-1: b",
        "each worker-*: c",
        "all of (api: d, any of (worker-1: e, worker-2: e))",
        "2 of (api: f, worker-1: f, worker-2: f)",
        "optional api: g",
        'api: h { kind = "first", n = 1 }',
        'api: h { kind = "last" }',
    ]
    budgets = "".join(f"'{name}' = {{ max = \"{n}s\" }}\n" for n, name in enumerate(printed, 1))
    (here / "circuit.toml").write_text(UNITS + "[circuits.c]" + EVERY_FORM + "[circuits.c.hop_budgets]\n" + budgets)
    read = load(here).circuits[0].hop_budgets
    assert read == {name: Budget(max_ns=n * 1_000_000_000) for n, name in enumerate(printed, 1)}


def test_a_hop_to_a_single_probe_is_named_by_that_probe_too(here: Path) -> None:
    written = 'hop_budgets = { "worker-*: c" = { max = "1s" }, "api:  g" = { max = "2s" } }\n'
    (here / "circuit.toml").write_text(UNITS + "[circuits.c]" + EVERY_FORM + written)
    assert load(here).circuits[0].hop_budgets == {
        "each worker-*: c": Budget(max_ns=1_000_000_000),
        "optional api: g": Budget(max_ns=2_000_000_000),
    }


@pytest.mark.usefixtures("here")
def test_a_name_is_as_long_as_the_key_of_an_event_may_be() -> None:
    (said,) = mistakes(f'[units."{"日" * 67}"]\ncommand = "x"\n')
    assert "has a name of 201 bytes in UTF-8; at most 200 are allowed" in said


@pytest.mark.usefixtures("here")
def test_all_mistakes_come_together_from_top_to_bottom() -> None:
    said = mistakes('[circuits.c]\npath = ["x: y"]\n[units.a]\naftr = []\n[scenario]\nname = 1\n')
    assert [sentence.rpartition("(")[2] for sentence in said] == ["line 2)", "line 3)", "line 4)", "line 6)"]


def test_a_wrong_scenario_is_a_usage_error_with_a_line_for_each_mistake(here: Path) -> None:
    (here / "circuit.toml").write_text("[units.a]\naftr = []\n")
    with pytest.raises(ScenarioError, match=r"^circuit.toml: units.a has neither") as caught:
        load(Path("circuit.toml"))
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).count("\n") == 1


def test_a_file_that_is_not_text_is_named(here: Path) -> None:
    (here / "circuit.toml").write_bytes(b"name = \xff")
    with pytest.raises(ScenarioError, match=r"circuit.toml: is not UTF-8 text: invalid start byte at byte 7"):
        load(here)


@pytest.mark.usefixtures("here")
def test_units_that_may_run_anywhere_are_spread_over_the_hosts() -> None:
    Path("circuit.toml").write_text(
        '[hosts.a]\nssh = "a"\n[hosts.b]\nagent = true\n[units.x]\ncommand = "x"\nhost = "a"\n'
        + "".join(f'[units.u{n}]\ncommand = "x"\nhost = "any"\n' for n in range(3))
    )
    scenario = load(Path("circuit.toml"))
    assert [unit.host for unit in scenario.units] == ["a", "b", "a", "b"]
    assert [host.name for host in scenario.used_hosts] == ["a", "b"]


@pytest.mark.usefixtures("here")
def test_a_unit_that_may_run_anywhere_runs_here_if_there_is_nowhere_else() -> None:
    Path("circuit.toml").write_text('[units.x]\ncommand = "x"\nhost = "any"\n')
    assert load(Path("circuit.toml")).units[0].host == "local"
