"""How an examination looks: a block for each machine, aligned, in any width, and commands that can be copied."""

import pytest
from rich.cells import cell_len

from runner.adapters.terminal.checkup import checkups
from runner.core.report.text import plain
from runner.model.checkup import Checkup, Examined, Level

COMMAND = "ssh user@lab-2 /usr/bin/python3 -m pip install circuit-run==0.1.0"
LAB_2 = Examined(
    "lab-2",
    (
        Checkup("reachable", Level.OK, "user@lab-2 in 84 ms"),
        Checkup("circuit-run", Level.PROBLEM, "0.0.9, here 0.1.0", "install the same release:", COMMAND),
        Checkup("files", Level.NOTE, "256 open files for each process", "raise it:", "ulimit -n 4096"),
    ),
)
LONGER = Examined(
    "a-longer-name",
    (
        Checkup(
            "reachable",
            Level.PROBLEM,
            "it does not let this user in without a password",
            "put your key there, or load it with ssh-add:",
            "ssh-copy-id lab",
            ("no such identity: id", "\x1b[31mPermission denied\x1b[0m (publickey,password,keyboard-interactive)."),
        ),
    ),
)


def shown(*machines: Examined, width: int) -> str:
    return "\n".join(plain(line) for line in checkups(machines, width)) + "\n"


def test_machines_are_blocks_whose_columns_stand_below_each_other() -> None:
    assert shown(LAB_2, LONGER, width=100) == (
        """\
lab-2           not fit: 1 problem, 1 note
  ✓ reachable    user@lab-2 in 84 ms
  ✗ circuit-run  0.0.9, here 0.1.0
                 install the same release:
                   ssh user@lab-2 /usr/bin/python3 -m pip install circuit-run==0.1.0
  ● files        256 open files for each process
                 raise it:  ulimit -n 4096

a-longer-name   not fit: 1 problem
  ✗ reachable    it does not let this user in without a password
                 it said: no such identity: id
                          Permission denied (publickey,password,keyboard-interactive).
                 put your key there, or load it with ssh-add:  ssh-copy-id lab
"""
    )


@pytest.mark.parametrize("width", [50, 60, 79, 100, 119])
def test_lines_fit_in_any_width_and_what_is_to_be_typed_stays_whole(width: int) -> None:
    text = shown(LAB_2, LONGER, width=width)
    assert COMMAND in text
    assert [line for line in text.splitlines() if cell_len(line) > width and COMMAND not in line] == []


def test_a_machine_without_problems_is_fit_and_its_notes_are_counted() -> None:
    well = Checkup("clock", Level.OK, "wall clock +1 ms")
    note = Checkup("files", Level.NOTE, "few")
    assert shown(Examined("a", (well,)), width=80).splitlines()[0] == "a   fit"
    assert shown(Examined("a", (well, note)), width=80).splitlines()[0] == "a   fit, 1 note"
    assert shown(Examined("a", (note,), looked=False), width=80).splitlines()[0] == "a   not examined"


def test_names_and_words_from_elsewhere_are_harmless() -> None:
    evil = Examined("a\x1b[2J", (Checkup("reachable", Level.PROBLEM, "x\ny", said=("\x1b]0;title\x07z",)),))
    assert "\x1b" not in shown(evil, width=80)
