"""The broker and the supervisor of a live run, while it needs them: a killed broker is started again, a supervisor that
has failed ends the run.

Belongs here: noticing their ends, and what follows. Must not know units or orders.
"""

from pathlib import Path
from typing import Final

from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.run_processes import RunProcesses
from runner.model.errors import BrokerFailed, SupervisorFailed
from runner.session.clock import Clock
from runner.session.dispatcher import Dispatcher

AWAY_NS: Final = 90_000_000_000
"""How long a broker that lives may be away; one that was started again has its log to read first."""
STOP_NS: Final = 15_000_000_000
"""How long the supervisor may take to end units when the time that these have themselves is over."""
LAST_WORDS_S: Final = 1.0
"""How long a supervisor that has said FINAL too early may take to exit."""


class Watchdog:
    """Watches the `processes` of the run in `folder`."""

    def __init__(
        self, processes: RunProcesses, reader: LogReader, dispatcher: Dispatcher, clock: Clock, folder: Path
    ) -> None:
        self._processes = processes
        self._reader = reader
        self._dispatcher = dispatcher
        self._clock = clock
        self._folder = folder
        self.watching = True
        """The run needs them."""
        self._published = False

    def release(self) -> None:
        """The run needs neither of them any more."""
        self.watching = False

    def look(self) -> None:
        """Restart a broker that was killed. If the supervisor has ended without a last word, publish what it left.
        Raises BrokerFailed or SupervisorFailed."""
        if self._processes.revive():
            self._reader.broker_died()
        if self._clock.away_ns > AWAY_NS:
            raise BrokerFailed(f"the broker does not answer any more; see {self._folder}")
        supervisor = self._processes.supervisor
        supervisor.check()
        silent = supervisor.code is not None and not self._dispatcher.over
        if silent and self._reader.current and not self._published:
            self._published = True
            self._processes.publish()

    def check_supervised(self) -> None:
        """Raises SupervisorFailed if the supervisor has ended, or does not end units, while the run waits for units:
        their ends would never be reported."""
        lifecycle, supervisor = self._dispatcher.lifecycle, self._processes.supervisor
        if left := lifecycle.unended(STOP_NS):
            raise SupervisorFailed(f"the supervisor does not end {', '.join(left)}; does it stand still?")
        if not self._dispatcher.over or not lifecycle.units.local_is_left:
            return
        supervisor.wait(LAST_WORDS_S)
        supervisor.check()
        raise SupervisorFailed(f"the supervisor left before {lifecycle.units.waits_for}; see {self._folder}")

    def sources(self) -> list[int]:
        """File descriptors that are readable when one of them has ended. They stay readable, so only of those that
        live."""
        if not self.watching:
            return []
        return [process.fileno() for process in self._processes.leased if process.code is None]
