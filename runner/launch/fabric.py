"""What one run stands on: its broker, and its supervisor with the first units already started.

Belongs here: bringing both up side by side, and ending both. Must not know what the run is about. They come up in the
background, so that whoever starts them can go on loading what it needs until `ready`.
"""

import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.launch.daemon import Broker, Supervisor, private_endpoint
from runner.launch.elsewhere import Elsewhere
from runner.launch.local import Launcher, Place
from runner.scenario.model import Scenario


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
            further = self.elsewhere.options if self.elsewhere else ()
            self.endpoint = stack.enter_context(private_endpoint(make=False))
            """Where the broker listens: a place that only this user can reach."""
            self.place = Place(self.endpoint, run, folder)
            self.launcher = Launcher(scenario, self.place)
            broker = Broker(self.endpoint, run, folder, durable=durable, further=further)
            self.broker = stack.enter_context(contextlib.closing(broker))
            self.supervisor = stack.enter_context(contextlib.closing(Supervisor(self.place, self.launcher.first())))
            self._ending = stack.pop_all()

    def ready(self) -> None:
        """Wait until the broker listens. Raises BrokerFailed."""
        self.broker.endpoint()

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
