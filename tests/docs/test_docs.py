"""The documents say what is so: links resolve, files and functions they name exist, the README's commands run."""

import ast
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import probe
from benchmarks import report
from benchmarks.__main__ import RESULTS
from broker import quotas
from probe import testing

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/*.md"))
    if page.is_file()
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
ACCESS = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
JOURNEY = (ROOT / "docs" / "journey.md").read_text(encoding="utf-8")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pages
def test_relative_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pages
def test_files_named_in_backticks_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:probe|broker|runner|tests|docs|examples|benchmarks)/[\w./-]+)", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []


def test_the_page_of_commands_is_the_commands_own_words() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == generate["page"](), "run: python -m docs.generate"


def _definitions(path: Path) -> set[str]:
    """Functions, classes, methods, and what is assigned at the top, as `name` or `Class.name`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


PLACES = re.findall(r"`([\w/]+\.py): ([\w., ]+)`", JOURNEY)


@pytest.mark.parametrize(("file", "names"), PLACES, ids=[file for file, _ in PLACES])
def test_the_journey_names_functions_that_exist(file: str, names: str) -> None:
    assert set(names.split(", ")) <= _definitions(ROOT / file)


def test_the_journey_goes_through_every_part() -> None:
    assert {"probe", "broker", "runner"} <= {file.split("/")[0] for file, _ in PLACES}
    assert len(PLACES) >= 10


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The files that the README shows."""
    _files(README, tmp_path)
    return tmp_path


def _files(page: str, folder: Path) -> None:
    """Writes the files that `page` shows, each named in its first line."""
    for name, text in re.findall(r"```(?:python|toml)\n# ([\w./-]+\.\w+)\n(.*?)```", page, re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environ |= {"PATH": path, "NO_COLOR": "1", "COLUMNS": "79"}  # of a terminal that is 80 cells wide
    return subprocess.run(command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, timeout=50)


def test_the_commands_of_the_readme_run_as_they_stand(example: Path) -> None:
    commands = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        done = _run(command, example)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_the_test_that_the_readme_shows_passes_and_fails_as_the_system_does(example: Path) -> None:
    assert _run("python -m pytest -q -p no:cacheprovider test_mail.py", example).returncode == 0
    post = example / "mail" / "post.py"
    post.write_text(post.read_text().replace("letters.recv()", "letters.recv()[:4]"))
    done = _run("python -m pytest -q -p no:cacheprovider test_mail.py", example)
    assert done.returncode == 1
    assert "clara stopped after writer: letter-sent" in done.stdout


def test_the_test_that_the_page_on_orders_shows_passes(tmp_path: Path) -> None:
    _files((ROOT / "docs" / "lockstep.md").read_text(encoding="utf-8"), tmp_path)
    done = _run("python -m pytest -q -p no:cacheprovider test_account.py", tmp_path)
    assert done.returncode == 0, done.stdout


def test_what_the_readme_shows_of_the_mistake_it_proposes_is_what_is_printed(example: Path) -> None:
    (new, old), *_ = re.findall(r"write `([^`]+)` in place of `([^`]+)`", README)
    post = example / "mail" / "post.py"
    post.write_text(post.read_text().replace(old, new))
    done = _run("circuit-run mail", example)
    assert done.returncode == 1
    assert _summary(done.stdout) == _shown("FAILED")


def test_what_the_readme_shows_of_a_run_that_passed_is_what_is_printed(example: Path) -> None:
    done = _run("circuit-run mail", example)
    assert _summary(done.stdout) == _shown("PASSED")


def _shown(verdict: str) -> list[str]:
    """The summary with that verdict that the README shows, without its figures."""
    (block,) = re.findall(rf"^    mail   {verdict}.*(?:\n    .*|\n)+", README, re.MULTILINE)
    return _told(block)


def _summary(output: str) -> list[str]:
    """The summary that a command printed behind its plain lines, without its figures."""
    return _told(output[output.rindex("\n\nmail") :])


def _told(text: str) -> list[str]:
    text = re.sub(r"(?<=\.circuit/runs/)\S+", "RUN", text)
    return [_without_numbers(line) for line in text.splitlines() if line]


def test_every_page_that_the_readme_lists_is_a_page_of_docs() -> None:
    listed = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", README))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_what_is_protected_is_linked_from_where_it_is_looked_for_and_names_no_address() -> None:
    security = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "](SECURITY.md)" in README
    assert "](../SECURITY.md)" in ACCESS
    assert re.findall(r"^## (.+)$", security, re.MULTILINE) == ["What is protected", "What is not", "How to report"]
    assert re.findall(r"[\w.]+@[\w.]+\.\w+|https?://", security) == []
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", ACCESS, re.MULTILINE)}
    assert set(re.findall(r"docs/access\.md#([\w-]+)", security)) <= headings


def test_the_page_on_access_says_which_quotas_there_are_by_default() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d,]+(?: [KMGT]iB)?) \|", ACCESS, re.MULTILINE)
    assert [name for name, _ in rows] == list(quotas.NAMES)
    assert quotas.parsed(f"{name}={re.sub('[ ,]', '', value)}" for name, value in rows) == quotas.USUAL


# --- the page on reliability ------------------------------------------------------------------------------------------


def _without_numbers(line: str) -> str:
    """The line as it is in every run: figures and their units aside."""
    return re.sub(r"[\d,.]+( [nµm]?s\b)?", "0", " ".join(line.split()))


RELIABILITY = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ (.+)\n((?:.*\n)+?)```", RELIABILITY)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_page_on_reliability_shows_what_its_commands_say(tmp_path: Path, command: str, output: str) -> None:
    _files(RELIABILITY, tmp_path)
    done = _run(command, tmp_path)
    said = {_without_numbers(line) for line in (done.stdout + done.stderr).splitlines()}
    assert [line for line in output.splitlines() if _without_numbers(line) not in said] == []


def test_the_page_on_reliability_shows_something() -> None:
    assert len(SHOWN) >= 2


# --- the page on probes -----------------------------------------------------------------------------------------------

PROBES = (ROOT / "docs" / "probes.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"```console\n(.*?)```", PROBES, re.DOTALL)
"""Scenario of the page -> packages without which it does not run."""


@pytest.mark.parametrize("console", CONSOLES, ids=[console.splitlines()[0] for console in CONSOLES])
def test_the_page_on_probes_shows_what_its_commands_say(tmp_path: Path, console: str) -> None:
    _files(PROBES, tmp_path)
    for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE):
        done = _run(command, tmp_path)
        said = {_without_numbers(line) for line in (done.stdout + done.stderr).splitlines()}
        missing = [line for line in shown.splitlines() if _without_numbers(line) not in said]
        assert missing == [], done.stdout + done.stderr


def test_the_mistake_that_breaks_the_one_rule_is_reported_as_the_page_shows(tmp_path: Path) -> None:
    _files(PROBES, tmp_path)
    (wrong,) = re.findall(r"```python\n( +door\.send.*?)```", PROBES, re.DOTALL)
    (shown,) = re.findall(r"^    ✗ acausal.*\n(?:     .*\n)+", PROBES, re.MULTILINE)
    shop = tmp_path / "rule" / "shop.py"
    lines = shop.read_text().splitlines(keepends=True)
    shop.write_text("".join(lines[: -len(wrong.splitlines())]) + wrong)
    done = _run("circuit-run rule", tmp_path)
    said = {_without_numbers(line) for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert [line for line in shown.splitlines() if _without_numbers(line) not in said] == [], done.stdout


def test_the_page_on_probes_describes_every_public_name() -> None:
    described = set(re.findall(r"`probe\.([\w.]+)\(", PROBES))
    assert described == {*probe.__all__, "testing.capture"}
    captured = {name for name in vars(testing.Captured) if not name.startswith("_")}
    assert captured <= set(re.findall(r"`(\w+)`", PROBES))


def test_what_the_page_on_probes_shows_in_pieces_is_python() -> None:
    for piece in re.findall(r"```python\n(?!# )(.*?)```", PROBES, re.DOTALL):
        compile(textwrap.dedent(piece), "docs/probes.md", "exec")


def test_the_page_on_probes_quotes_the_page_of_figures() -> None:
    measured = {row[0]: f"{row[1]} {row[3]}" for row in _table(report.PAGE.read_text(encoding="utf-8"), 7)}
    costs = dict(_table(PROBES[PROBES.index("| what | measured |") :], 2))
    assert len(costs) >= 3
    assert costs == {what: measured[what] for what in costs}


def _table(page: str, width: int) -> list[list[str]]:
    """The cells of every row of tables with so many columns, without their heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return [row for row in rows if len(row) == width and row[0] != "what" and set("".join(row)) - set("-:")]


def test_the_page_of_figures_says_what_was_measured() -> None:
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert report.PAGE.read_text(encoding="utf-8") == report.page(measured)
