"""What a key asks for.

Belongs here: the few things that people can ask of a running screen. Must not know which keys mean them.
"""

from enum import Enum


class Action(Enum):
    """The screen itself does what concerns the view; QUIT is for the session."""

    PAUSE = "pause"
    FINDINGS = "findings"
    HELP = "help"
    QUIT = "quit"
    """Stop the run cleanly."""
