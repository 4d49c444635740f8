"""What people see: the live picture, plain lines where there is no terminal, and the summary at the end.

    board      what the live view shows, as one value
    rows       board -> lines        (table, pages: parts of it)
    narrate    board -> what is new, as plain lines
    summary    result -> lines       (facts: texts; budgets: how limits stand; printing: onto paper)
    checkup    machines examined -> lines; clocks: how well they are known (tableau: over themselves)
    screen     which screen; live (terminal, action) and still are the screens
    paper      where lines that stay are written
    text       spans, cutting, wrapping, tones; quantity: numbers in words

Public names are those of `__all__`.
"""

from runner.adapters.terminal.action import Action
from runner.adapters.terminal.printing import print_checkups, print_events, print_summary
from runner.adapters.terminal.screen import Screen, choose
from runner.adapters.terminal.snapshot import Snapshot

__all__ = ["Action", "Screen", "Snapshot", "choose", "print_checkups", "print_events", "print_summary"]
