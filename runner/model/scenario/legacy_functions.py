"""What the Python files beside the units of a legacy folder define, found without importing them.

Belongs here: test functions with their priorities, callbacks, `main()`. Must not know how they are called.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.model.errors import Mistake
from runner.model.scenario.model import LegacyTest

SETUP = "setup.py"
_NO_TESTS = frozenset({"test_config", "test_results"})
"""Names that begin like a test function's and are helpers."""
_CALLBACKS = ("validate_test", "tests_results")


@dataclass(slots=True)
class Beside:
    """What the files of one folder define; functions as `module:function`."""

    tests: tuple[LegacyTest, ...] = ()
    callbacks: dict[str, str] = field(default_factory=dict)
    setup: str | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look(folder: Path) -> Beside:
    """Reads every `*.py` of `folder` whose name does not begin with an underscore, in the order of their names."""
    beside = Beside()
    tests: dict[str, LegacyTest] = {}
    imported: dict[str, LegacyTest] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        try:
            tree = ast.parse(path.read_bytes(), str(path))
        except SyntaxError as error:
            beside.mistakes.append(Mistake(str(path), "", f"is not Python: {error.msg}", error.lineno))
            continue
        for name, node in sorted(_functions(tree), key=lambda found: found[0]):
            called = f"{path.stem}:{name}"
            if name in _CALLBACKS:
                if name in beside.callbacks:
                    beside.notes.append(f"{name} is defined twice; {beside.callbacks[name]} is called, {called} is not")
                beside.callbacks.setdefault(name, called)
            elif path.name == SETUP:
                if name == "main":
                    beside.setup = called
            elif name.startswith("test_") and name not in _NO_TESTS:
                if isinstance(node, ast.alias):
                    imported.setdefault(name, LegacyTest(called))
                else:
                    tests[called] = _test(called, node, beside.notes)
        if path.name == SETUP and beside.setup is None:
            beside.mistakes.append(Mistake(str(path), "", "has no function main(), which is what a setup runs"))
    own = {called.partition(":")[2] for called in tests}
    found = [*tests.values(), *(test for name, test in imported.items() if name not in own)]
    beside.tests = tuple(sorted(found, key=lambda test: (test.priority, test.parallelize)))
    return beside


def _functions(tree: ast.Module) -> "Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.alias]]":
    """Functions that a module defines or imports by name at its top."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, alias) for alias in node.names)


def _test(called: str, node: ast.FunctionDef | ast.AsyncFunctionDef, notes: list[str]) -> LegacyTest:
    """A test function with what `@test_config(priority, parallelize)` says about it."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == "test_config":
            given = [*zip(("priority", "parallelize"), decorator.args, strict=False)]
            given += [(keyword.arg or "", keyword.value) for keyword in decorator.keywords]
            try:
                said = {name: ast.literal_eval(value) for name, value in given}
            except ValueError:
                notes.append(f"test_config of {called} is not in plain values; priority 0 is taken, not in parallel")
                break
            return LegacyTest(called, int(said.get("priority", 0)), bool(said.get("parallelize", False)))
    return LegacyTest(called)
