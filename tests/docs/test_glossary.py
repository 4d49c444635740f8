"""The glossary's words are in the code, a class name means one thing, and CONTRIBUTING.md leads to files that exist."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PLACES = re.findall(r"`(\w+(?:/\w+)+\.py)(?:: (\w+))?`", GLOSSARY)
TWICE = {
    "Unit": "one is declared in a scenario, the other is the living one inside a program",
}
"""Class names that stand for two things, and why that is no mistake."""


@pytest.mark.parametrize(("file", "name"), PLACES, ids=[f"{file}:{name}" for file, name in PLACES])
def test_a_word_of_the_glossary_is_in_the_code(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    assert not name or name in names


def test_the_glossary_says_each_word_once() -> None:
    words = re.findall(r"^\| ([a-z ]+) \|", GLOSSARY, re.MULTILINE)[1:]
    assert len(words) > 30
    assert len(words) == len(set(words))


def test_a_class_name_stands_for_one_thing() -> None:
    found = defaultdict(list)
    for package in ("probe", "broker", "runner"):
        for path in (ROOT / package).rglob("*.py"):
            if {"shim", "demo"}.isdisjoint(path.parts):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                for node in tree.body:
                    if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                        found[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in found.items() if len(paths) > 1 and name not in TWICE} == {}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)+\w+(?:\.\w+)?)`", CONTRIBUTING))))
def test_what_contributing_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_contributing_says_where_at_least_ten_changes_belong() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", CONTRIBUTING.partition("## Where do I change X?")[2], re.MULTILINE)[1:]
    assert len(rows) >= 10
    assert [change for change, where in rows if not re.search(r"`\w+/[\w/.]+`", where)] == []
