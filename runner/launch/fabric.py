"""What one run stands on: its broker, and its supervisor with the first units already started.

Belongs here: bringing both up side by side, starting a broker again that was killed, and ending both. Must not know
what the run is about. They come up in the background, so that whoever starts them can go on loading what it needs until
`ready`.
"""

import contextlib
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from runner.errors import BrokerFailed
from runner.launch.daemon import Broker, Supervisor, private_endpoint
from runner.launch.elsewhere import Elsewhere
from runner.launch.local import Launcher, Place
from runner.scenario.model import Scenario
from runner.signals import signal_name

DEATHS: Final = 5
DEATHS_S: Final = 10.0
"""A broker that dies so often within so long is not started again."""


class Deaths:
    """When something died lately."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=DEATHS)

    def too_many(self, now_s: float) -> bool:
        """It has died: whether that is once too often."""
        self._times_s.append(now_s)
        return len(self._times_s) == DEATHS and now_s - self._times_s[0] <= DEATHS_S


class Fabric:
    """The processes of one run beside its units, from its making to the end of `with`. `folder` is the run folder; a
    `durable` broker acknowledges what is on the disk; `listen` is an address on TCP where units that are started
    elsewhere may join.

    Raises BrokerFailed or SupervisorFailed, and ScenarioError for a unit that cannot be started at all.
    """

    def __init__(self, scenario: Scenario, folder: Path, run: str, *, durable: bool = False, listen: str = "") -> None:
        with contextlib.ExitStack() as stack:
            external = [unit.name for unit in scenario.units if unit.launcher == "external"]
            self.elsewhere = stack.enter_context(Elsewhere(listen, folder, run, external)) if listen else None
            """The door for units that are started elsewhere; None: there is none."""
            self.endpoint = stack.enter_context(private_endpoint(make=False))
            """Where the broker listens: a place that only this user can reach."""
            self.place = Place(self.endpoint, run, folder)
            self.launcher = Launcher(scenario, self.place)
            further = (self.elsewhere.listen,) if self.elsewhere else ()
            its_keys = self.elsewhere.keys if self.elsewhere else None
            self.broker = Broker(self.endpoint, run, folder, durable=durable, further=further, keys=its_keys)
            stack.callback(self._close_broker)
            stack.callback(self.publish)
            self.supervisor = stack.enter_context(contextlib.closing(Supervisor(self.place, self.launcher.first())))
            self._ending = stack.pop_all()
        self.restarts = 0
        """How often the broker was started again."""
        self._deaths = Deaths()

    def ready(self) -> None:
        """Wait until the broker listens. Raises BrokerFailed."""
        while True:
            try:
                self.broker.endpoint()
                return
            except BrokerFailed:
                if not self.revive():
                    raise

    def revive(self) -> bool:
        """Start the broker again if somebody has killed or ended it: on the same addresses, with the same log. Whether
        that was so; never waits. Raises BrokerFailed if it gave up by itself, was killed too often, or does not listen.
        """
        code = self.broker.code
        if code is None or code > 0:
            self.broker.check()
            return False
        if self._deaths.too_many(time.monotonic()):
            how = f"was killed by {signal_name(-code)}" if code else "was told to end"
            raise BrokerFailed(
                f"the broker {how}, for the {DEATHS}th time within {DEATHS_S:g} s, and is not started again"
            )
        self.broker = self.broker.again()
        self.restarts += 1
        return True

    def publish(self) -> None:
        """Bring into the log what processes that are dead wrote down and could not say any more, the last words of the
        supervisor too. What that does not succeed with stays; the audit names it."""
        journals = self.place.journals
        if self.broker.code is None and journals.is_dir() and any(journals.iterdir()):
            from probe import recovery  # seldom needed

            recovery.recover(journals, self.endpoint)

    def _close_broker(self) -> None:
        self.broker.close()

    def invitations(self) -> list[str]:
        """What is needed to join from elsewhere, in lines (see `Elsewhere`); waits until the broker listens. Raises
        BrokerFailed."""
        return self.elsewhere.invitations(self.broker.endpoint(1)) if self.elsewhere else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()
