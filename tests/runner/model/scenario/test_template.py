"""What `init` writes is a scenario that loads, and nothing of the user's is overwritten."""

import ast
from pathlib import Path

import pytest

from runner.model.errors import UsageError
from runner.model.scenario import load, template


def test_the_first_scenario_loads_and_names_functions_that_are_there(tmp_path: Path) -> None:
    written = template.write(tmp_path / "new" / "flow")
    assert [path.name for path in written] == ["circuit.toml", "units.py"]
    scenario = load(tmp_path / "new" / "flow")
    assert [unit.name for unit in scenario.units] == ["worker", "client"]
    assert [circuit.name for circuit in scenario.circuits] == ["order"]
    module = ast.parse(template.UNITS)
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    assert {unit.entrypoint for unit in scenario.units} == {f"units:{name}" for name in functions}


def test_every_step_of_the_first_circuit_is_in_the_code(tmp_path: Path) -> None:
    template.write(tmp_path)
    circuit = load(tmp_path).circuits[0]
    assert all(f'"{str(probe).partition(": ")[2]}", key=' in template.UNITS for probe in circuit.path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "units.py").write_text("mine")
    with pytest.raises(UsageError, match=r"units.py would be overwritten; name a new folder"):
        template.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["units.py"]
    assert (tmp_path / "units.py").read_text() == "mine"


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/flow cannot be written to: Not a directory"):
        template.write(tmp_path / "file" / "flow")
