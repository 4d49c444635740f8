"""What people see: the live view, plain lines where there is no terminal, and printing.

    snapshot       what the live view shows, as one value
    rows           snapshot -> lines        (table, pages: parts of it)
    narrate        snapshot -> what is new, as plain lines
    printing       summaries, stories and checkups onto the terminal
    checkup        machines examined -> lines; clocks: how well they are known (repainter: over themselves)
    screen         which screen; live (terminal, action) and still are the screens
    output_stream  where lines that stay are written

Public names are those of `__all__`.
"""

from runner.adapters.terminal.action import Action
from runner.adapters.terminal.printing import print_checkups, print_events, print_summary
from runner.adapters.terminal.screen import Screen, choose
from runner.adapters.terminal.snapshot import Snapshot

__all__ = ["Action", "Screen", "Snapshot", "choose", "print_checkups", "print_events", "print_summary"]
