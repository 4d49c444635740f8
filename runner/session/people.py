"""What people want of a live run, by signals and keys: its end, and a second time its end at once.

Belongs here: counting such requests, and how long they leave to others. Must not know how a run ends.
"""

import math
from collections.abc import Iterator
from typing import Final

from probe.clock import monotonic
from runner.adapters.signals import Signals
from runner.adapters.terminal import Action, Screen
from runner.model.errors import Abandoned

READ_S: Final = 1.0
"""How long the runner still reads what units have emitted after a person wants the run to end."""
INSIST_S: Final = 3.0
"""How long everything may take to end after a person has asked twice."""


class People:
    """Requests of one run. Its times are the machine's: the clock of the run may stand still, people do not."""

    def __init__(self, signals: Signals, screen: Screen) -> None:
        self._signals = signals
        self._screen = screen
        self._asked_s = math.inf
        """When the end was asked for first."""
        self._insisted_s = math.inf
        """When it was asked for the second time."""

    @property
    def interrupted(self) -> bool:
        """A person wants the run to end."""
        return self._asked_s < math.inf

    @property
    def insisted(self) -> bool:
        """A person wants it to end at once."""
        return self._insisted_s < math.inf

    @property
    def reads_no_more(self) -> bool:
        """Whether what units have emitted is read no longer, because a person waits for the end."""
        return monotonic() > self._asked_s + READ_S

    def requests(self) -> Iterator[bool]:
        """Each request since the last call: whether it is the first of the run."""
        actions = self._screen.keys()
        for _ in range(self._signals.taken() + actions.count(Action.QUIT)):
            first = not self.interrupted
            if first:
                self._asked_s = monotonic()
            else:
                self._insisted_s = min(self._insisted_s, monotonic())
            yield first

    def check(self) -> None:
        """Raises Abandoned when the end takes too long for a person who has asked twice."""
        if monotonic() - self._insisted_s > INSIST_S:
            raise Abandoned(f"not everything had ended {INSIST_S:g} s after the second interruption, and was killed")

    def sources(self) -> list[int]:
        """File descriptors that are readable when a person does something."""
        return [source for source in (self._signals.fileno(), self._screen.fileno()) if source is not None]
