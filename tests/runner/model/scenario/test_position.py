"""Every value of a TOML text is found on its line."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model.scenario.position import Path, dotted, lines

TEXT = '''\
top = 1
[units.worker]           # "[not.a.table]"
after = ["a", "b",
  "c",  # one more, with "]"
  { probe = "x: y", where = { ok = true } },
]
env.PATH = """
[not]
= a "table" \\""""
when = 1979-05-27 07:32:00
[[steps]]
name = 'one # two'
[steps.deep]
"quoted key" = 1.5
[[steps]]
[steps.deep]
name = "two"
[units."a b".env]
X = "1"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 1),
        (("units",), 2),
        (("units", "worker"), 2),
        (("units", "worker", "after"), 3),
        (("units", "worker", "after", 1), 3),
        (("units", "worker", "after", 2), 4),
        (("units", "worker", "after", 3, "where", "ok"), 5),
        (("units", "worker", "env", "PATH"), 7),
        (("units", "worker", "when"), 10),
        (("steps", 0), 11),
        (("steps", 0, "name"), 12),
        (("steps", 0, "deep", "quoted key"), 14),
        (("steps", 1), 15),
        (("steps", 1, "deep", "name"), 17),
        (("units", "a b", "env", "X"), 19),
    ],
)
def test_a_value_is_found_on_its_line(path: Path, line: int) -> None:
    assert lines(TEXT)[path] == line


def paths(value: Any, path: Path = ()) -> set[Path]:
    """Every path in a parsed document, as the truth to compare with."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path} - {()} | {inner for key, child in children for inner in paths(child, (*path, key))}


def test_the_scanner_finds_exactly_the_paths_that_the_parser_finds() -> None:
    assert set(lines(TEXT)) == paths(tomllib.loads(TEXT))


KEYS = st.one_of(st.sampled_from(["a", "b-c", "1"]), st.text('ab ."\\=[]#', min_size=1, max_size=4))
SCALARS = st.one_of(
    st.integers(0, 99).map(str),
    st.sampled_from(["true", "1.5e3", "07:32:00", "1979-05-27 07:32:00", '"""\n"a" ] \\\\"""', "'''\n'' = {'''", "''"]),
    st.text('ab ]}#,"\\', max_size=5).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
)
GAPS = st.sampled_from(["", " ", "\n", " # ] } \" '\n", "\r\n"])


def quote(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(values, max_size=3), GAPS).map(
        lambda drawn: "[" + drawn[1] + f",{drawn[1]}".join(drawn[0]) + drawn[1] + "]"
    )


def tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.dictionaries(KEYS, values, max_size=3).map(
        lambda drawn: "{ " + ", ".join(f"{quote(key)} = {value}" for key, value in drawn.items()) + " }"
    )


VALUES = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), tables(inner)), max_leaves=6)
SECTIONS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3), max_size=3)


@settings(max_examples=150, deadline=None)
@given(SECTIONS, GAPS)
def test_any_document_has_a_line_for_every_path_and_for_nothing_else(
    sections: dict[str, dict[str, str]], gap: str
) -> None:
    text = "".join(
        f"[{quote(name)}]\n{gap}" + "".join(f"{quote(key)} = {value} # {name!r}\n{gap}" for key, value in pairs.items())
        for name, pairs in sections.items()
    )
    found = lines(text)
    assert set(found) == paths(tomllib.loads(text))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def test_a_path_is_written_with_quotes_only_where_a_key_needs_them() -> None:
    assert dotted(("units", "a b", "after", 0)) == 'units."a b".after[0]'
    assert dotted(()) == ""
