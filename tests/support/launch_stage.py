"""A broker, a supervisor and a log reader around a `Lifecycle`: as much of a run as tests of launching need."""

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from probe.event import Event, Kind
from probe.message import Events, Final, Finish, Hello, Order
from probe.wire import event_of, unpack_records
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.launch.leased_process import Broker, Supervisor, private_endpoint
from runner.adapters.start_orders import Launcher, RunContext
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.model.orders import SUPERVISOR, Directed
from runner.model.result.unit_status import UnitStatus
from runner.model.scenario.model import Scenario, Unit

PATIENCE_S = 20.0
"""No test waits so long unless something is broken."""


class Stage:
    """`events` is everything in the log so far."""

    def __init__(self, launcher: Launcher, place: RunContext, reader: LogReader, supervisor: Supervisor) -> None:
        self.place = place
        self.supervisor = supervisor
        self.lifecycle = Lifecycle(launcher.scenario, launcher, time.monotonic_ns())
        self.events: list[Event] = []
        self.closed: set[str] = set()
        self._reader = reader

    def order(self, order: Order, *to: str) -> None:
        self._reader.command(order, to or (SUPERVISOR,))

    def until(self, reached: Callable[[], object], *, lead: bool = True) -> None:
        """Follow the log, and unless `lead` is false give the lifecycle's orders, until `reached`."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < deadline, f"waited in vain; {self.lifecycle.units.statuses()} {self.events}"
            if lead:
                self.send(self.lifecycle.tick(time.monotonic_ns()))
            self._reader.wait(timeout_ms=20)
            self.follow()

    def send(self, orders: list[Directed]) -> None:
        for directed in orders:
            self._reader.command(directed.order, directed.to)

    def follow(self) -> None:
        for entry in self._reader.receive():
            if isinstance(entry.message, Hello) and not entry.unit.startswith("@"):
                self.lifecycle.joined(entry.unit, entry.incarnation, entry.message.waiting)
            elif isinstance(entry.message, Final):
                self.closed.add(entry.unit)
                self.lifecycle.final(entry.unit, entry.incarnation)
            elif isinstance(entry.message, Events):
                for record in unpack_records(entry.body):
                    event = event_of(entry.unit, entry.incarnation, record)
                    self.events.append(event)
                    self.lifecycle.event(event)

    def play(self) -> dict[str, UnitStatus]:
        """The whole run: services are stopped as soon as only they are left. Returns how it ended for every unit."""

        def over() -> bool:
            if self.lifecycle.units.idle:
                self.lifecycle.settled()
            return self.lifecycle.units.over

        self.until(over)
        return {status.name: status for status in self.lifecycle.units.statuses()}

    def steps(self, unit: str) -> list[str]:
        """What `unit` itself emitted, without what `probe` itself says."""
        return [event.step for event in self.events if event.unit == unit and event.kind < Kind.ARRIVE]

    def said(self, step: str, unit: str) -> Event | None:
        """The supervisor's last word of that kind about `unit`."""
        found = [e for e in self.events if e.unit == SUPERVISOR and e.step == step and e.key == unit]
        return found[-1] if found else None

    def out(self, unit: str) -> str:
        return (self.place.folder / "units" / f"{unit}.out").read_text()

    def err(self, unit: str) -> str:
        return (self.place.folder / "units" / f"{unit}.err").read_text(errors="replace")


@contextlib.contextmanager
def stage(folder: Path, *units: Unit, code: str = "", **options: object) -> Iterator[Stage]:
    """A run of `units` in `folder`; `code` is what stands in app.py."""
    (folder / "app.py").write_text(code)
    run = folder / "run"
    run.mkdir()
    name = f"run-{uuid.uuid4().hex[:8]}"
    scenario = Scenario("s", str(folder), "circuit.toml", units, **options)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(private_endpoint())
        broker = stack.enter_context(contextlib.closing(Broker(endpoint, name, run)))
        place = RunContext(endpoint, name, run)
        launcher = Launcher(scenario, place)
        supervisor = stack.enter_context(contextlib.closing(Supervisor(place, launcher.first())))
        broker.endpoint()
        reader = stack.enter_context(contextlib.closing(LogReader(endpoint, name)))
        on_stage = Stage(launcher, place, reader, supervisor)
        yield on_stage
        if not supervisor.wait(0):
            on_stage.order(Finish(0))
            assert supervisor.wait(PATIENCE_S)


def python(name: str, **options: object) -> Unit:
    """A unit whose code is the function of its name in app.py."""
    return Unit(name, entrypoint=f"app:{name}", **options)  # type: ignore[arg-type]


def shell(name: str, script: str, **options: object) -> Unit:
    """A unit that runs a shell script."""
    return Unit(name, command=("sh", "-c", script), **options)  # type: ignore[arg-type]
