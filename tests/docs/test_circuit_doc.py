"""docs/circuit.md says exactly what the loader takes: the same keys, the same defaults, examples that load."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from runner.model.scenario import circuit_toml, hosts, legacy, load
from runner.model.scenario.elements import PathReader

DOC = (Path(__file__).parents[2] / "docs" / "circuit.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)
FORMS = PathReader(()).forms


def table(first: str, section: str = "") -> dict[str, list[str]]:
    """The table whose first heading is `first` (in `section`): key -> the other cells of its row."""
    text = DOC[DOC.index(f"\n{section}\n") if section else 0 :]
    rows = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
    return {row[0].strip("` "): row[1:] for row in cells}


@pytest.mark.parametrize(
    ("documented", "accepted"),
    [
        (table("key", "## `[scenario]`"), circuit_toml.scenario_keys()),
        (table("key", "## `[units.NAME]`"), circuit_toml.unit_keys(())),
        (table("key", "## `[circuits.NAME]`"), circuit_toml.circuit_keys(())),
        (table("key in a budget"), circuit_toml.BUDGET_KEYS),
        (table("key", "## `[barriers.NAME]`"), circuit_toml.barrier_keys(())),
        (table("key", "## `[hosts.NAME]`"), hosts.host_keys()),
        (table("element"), FORMS),
        (table("key of an element"), {key for keys in FORMS.values() for key in keys} - FORMS.keys()),
        (table("key", '### `["Configs"]` in `config.toml`'), legacy.CONFIG_KEYS),
        (table("key", '### `["NAME"]` in `units/NAME.toml`'), legacy.UNIT_KEYS),
    ],
)
def test_the_documented_keys_are_the_accepted_ones(documented: dict[str, list[str]], accepted: Collection[str]) -> None:
    assert set(documented) == set(accepted)


def test_the_documented_tables_are_the_accepted_ones() -> None:
    headings = re.findall(r"^## `\[(\w+)", DOC, re.MULTILINE)
    assert headings == list(circuit_toml.root_keys(()))


def test_each_form_of_an_element_lists_its_other_keys() -> None:
    for form, (others, _) in table("element").items():
        assert set(re.findall(r"`(\w+)`", others)) == FORMS[form].keys() - {form}, form


def test_every_older_spelling_is_named() -> None:
    for old, new in legacy.SPELLINGS.items():
        assert f"`{old}`" in DOC
        assert f"`{new}`" in DOC


SCENARIO, UNIT, CIRCUIT, BARRIER = (
    "[scenario]",
    "[units.a]",
    "[circuits.c]",
    "[barriers.b]",
)
HOST = "[hosts.h]"
BASE = {SCENARIO: 'name = "x"', UNIT: 'command = "x"', CIRCUIT: 'path = ["a: x"]', BARRIER: "", HOST: 'ssh = "h"'}


@pytest.mark.parametrize(
    ("header", "section"),
    [
        (SCENARIO, "## `[scenario]`"),
        (UNIT, "## `[units.NAME]`"),
        (CIRCUIT, "## `[circuits.NAME]`"),
        (BARRIER, "## `[barriers.NAME]`"),
        (HOST, "## `[hosts.NAME]`"),
    ],
)
def test_a_documented_default_changes_nothing(header: str, section: str, tmp_path: Path) -> None:
    def read(more: str = "") -> object:
        (tmp_path / "circuit.toml").write_text(
            "\n".join(f"{name}\n{keys}\n{more if name == header else ''}" for name, keys in BASE.items())
        )
        return load(tmp_path)

    plain = read()
    defaults = {key: cells[1] for key, cells in table("key", section).items() if cells[1].startswith("`")}
    assert defaults
    for key, default in defaults.items():
        assert read(f"{key} = {default.strip('`')}") == plain, key


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_every_example_loads(example: str, tmp_path: Path) -> None:
    (tmp_path / "circuit.toml").write_text(example)
    assert load(tmp_path).units


def test_the_examples_use_every_key() -> None:
    """So that each key can be seen at work."""
    text = "\n".join(EXAMPLES)
    keys = {
        *circuit_toml.scenario_keys(),
        *circuit_toml.unit_keys(()),
        *hosts.host_keys(),
        *circuit_toml.circuit_keys(()),
        *circuit_toml.barrier_keys(()),
        *(key for form in FORMS.values() for key in form),
    }
    assert {key for key in keys if not re.search(rf"\b{key} = ", text)} == set()
