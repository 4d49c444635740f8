"""What can be imported from the top of each package is what is meant to be, and no more."""

import importlib
import types
from pathlib import Path

import pytest

import probe


def public(module: types.ModuleType) -> set[str]:
    """Names without an underscore that are no submodules."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def test_probe_has_the_names_that_a_unit_calls_and_no_other() -> None:
    assert probe.__all__ == sorted(public(probe))
    assert public(probe) == {
        *("emit", "send", "receive", "error", "ready", "unit"),
        *("barrier", "barrier_async", "wait", "wait_async", "checkpoint", "checkpoint_async"),
    }


@pytest.mark.parametrize("name", probe.__all__)
def test_every_name_of_probe_explains_itself(name: str) -> None:
    assert getattr(probe, name).__doc__


def test_the_broker_has_nothing_at_the_top_and_the_runner_what_it_loads_when_it_is_asked_for() -> None:
    assert public(importlib.import_module("broker")) == set()
    assert public(importlib.import_module("runner")) - set(importlib.import_module("runner").__all__) == {
        "TYPE_CHECKING"
    }


ROOT = Path(__file__).parents[1]
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts)
    for top in ("probe", "broker", "runner")
    for path in (ROOT / top).rglob("__init__.py")
    if "shim" not in path.parts and "orders" not in path.parts and "__all__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_names_that_a_package_offers_are_there_and_in_order(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
