"""The supervisor at work: one loop that takes orders (Start, Stop, Finish; Ship on another host), reaps children and
reports what became of them as events of kind `state` (docs/design.md).

Belongs here: that loop. Must not decide anything about a scenario, and never judges a unit by its silence.
"""

import collections
import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from probe import environment
from probe.clock import monotonic
from probe.message import Finish, Order, Ship, Start, Stop, Sync
from runner.adapters import process_tree
from runner.adapters.supervisor import unit_process
from runner.adapters.supervisor.journal_publisher import JournalPublisher, Published, Recover
from runner.adapters.supervisor.unit_process import UnitProcess

if TYPE_CHECKING:
    from runner.adapters.supervisor.journals import Journals
    from runner.adapters.supervisor.lease import Lease
    from runner.adapters.supervisor.output_forwarder import OutputForwarder
    from runner.adapters.supervisor.work_dir import WorkDir

LEASE_GRACE_S: Final = 1.0
"""How long units have to end by themselves when the runner is gone."""
STEP_S: Final = 0.005
"""How often the loop looks for what the kernel does not report: the end of a process group."""
SLEEP_S: Final = 3600.0
"""Longest sleep; selectors refuse more than some weeks, and a unit may be given longer to end."""
LOOK_S: Final = 0.1
"""How often the loop looks, while a unit lives, for journals that its processes left behind."""
REMOTE_S: Final = 0.2
"""On another host: how often output is forwarded, and how often the lease is checked."""


class StateReporter(Protocol):
    """How the supervisor reports; `probe.units.Unit` is one."""

    def state(self, step: str, /, key: object = None, **data: object) -> None: ...

    @property
    def speechless(self) -> str: ...


class Speechless(Exception):
    """Why no report gets to the broker any more; completes "the supervisor ..."."""


class RemoteServices(NamedTuple):
    """What a supervisor on another host has beside its orders."""

    work_dir: "WorkDir"
    lease: "Lease"
    forwarder: "OutputForwarder"
    refused: Callable[[], str] = str
    """Why the broker refuses this supervisor; "" while it does not."""


class SupervisorLoop:
    """All units of one host. `order` may be called from any thread, all else belongs to the thread of `serve`."""

    def __init__(
        self,
        reporter: StateReporter,
        recover: Recover,
        lease_fd: int | None,
        begun: Sequence[UnitProcess] = (),
        remote: RemoteServices | None = None,
        journals: "Journals | None" = None,
        give_up: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        """`begun` are processes that were started before; reading from `lease_fd` ends when the runner is gone.
        `remote` is for another host than the runner's. `journals` are those of all units of this host. `give_up` ends
        this process if an error says that memory, threads or files are used up."""
        self.ended_by = 0
        """The signal that ordered it to finish; 0: it was an order, or the end of the lease."""
        self.runner_gone = False
        """The lease is over."""
        self._reporter = reporter
        self._lease_fd = lease_fd
        self._remote = remote
        self._journals = journals
        self._give_up = give_up
        self._marks = journals.marks.fd if journals is not None and journals.marks is not None else -1
        self._publisher = JournalPublisher(recover, self._wake, give_up)
        self._inbox: collections.deque[Order] = collections.deque()
        self._unit_processes: dict[str, UnitProcess] = {one.unit: one for one in begun}
        self._begun: dict[str, int] = {one.unit: 1 for one in begun}
        """Unit -> its last life that was ordered to start."""
        self._finishing = False
        self._why = ""
        """Why it ends units without an order; completes "its supervisor ..."."""
        self._asked = False
        """The runner wants to know which processes keep a journal."""
        self._look_s = 0.0
        """When to look next at the journals."""
        self._remote_s = 0.0
        """When to forward output next."""
        self._wake_in, self._wake_out = os.pipe()
        for fd in (self._wake_in, self._wake_out):
            os.set_blocking(fd, False)

    def order(self, order: Order) -> None:
        """Take an order; never blocks."""
        self._inbox.append(order)
        self._wake()

    def serve(self) -> None:
        """Until an order, a signal or the end of the lease says to finish. Then no unit lives, nor any process that a
        unit left."""
        self._publisher.start()
        with selectors.DefaultSelector() as selector, self._signals():
            selector.register(self._wake_in, selectors.EVENT_READ)
            if self._lease_fd is not None:
                selector.register(self._lease_fd, selectors.EVENT_READ)
            self._report_start()
            self._wake()  # one of them may have ended before the handlers were set
            while self._unit_processes or not self._finishing:
                self._sleep(selector)
                if why := self._reporter.speechless:
                    self._give_up(Speechless(why))
                while self._inbox:
                    self._obey(self._inbox.popleft())
                if self._remote is not None:
                    self._serve_remote(self._remote)
                self._reap()
                if self._journals is not None:
                    self._look(self._journals)
                for one in self._unit_processes.values():
                    self._end_step(one)
                for published in self._publisher.take():
                    self._report_end(published)
        self._publisher.finish()
        if self.runner_gone or self.ended_by:  # else the runner inherits them, and its audit names them
            self._end_the_rest()

    @property
    def began(self) -> bool:
        """Whether it was ordered to start any unit."""
        return bool(self._begun)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _report_start(self) -> None:
        lease = {"lease_s": self._remote.lease.seconds} if self._remote else {}
        self._reporter.state("serving", **lease, **(self._journals.look().data if self._journals else {}))
        for one in self._unit_processes.values():
            self._reporter.state("spawned", key=one.unit, pid=one.pid)

    def _sleep(self, selector: selectors.BaseSelector) -> None:
        """Until something is due or has come."""
        for key, _ in selector.select(self._timeout_s()):
            if key.fd == self._wake_in:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_in, 4096)
            elif not os.read(key.fd, 4096):
                selector.unregister(key.fd)
                self._lose_runner()
                self._inbox.append(Finish(int(LEASE_GRACE_S * 1000)))

    def _serve_remote(self, remote: RemoteServices) -> None:
        """Forward what units have written; finish if there is no runner any more."""
        now_s = monotonic()
        if now_s >= self._remote_s:
            self._remote_s = now_s + REMOTE_S
            remote.forwarder.forward()
        if not self.runner_gone and (remote.lease.left_s <= 0 or remote.refused()):
            self._lose_runner()
            self._why = "had heard of no runner for its lease, or was told that there is none"
            self._obey(Finish(int(LEASE_GRACE_S * 1000)))

    def _lose_runner(self) -> None:
        self.runner_gone = self._publisher.runner_gone = True

    def _look(self, journals: "Journals") -> None:
        """See which processes keep a journal, and report it if that is news or was asked for; publish what was left
        behind."""
        now_s = monotonic()
        if not self._asked and now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        listing = journals.look()
        if self._asked or listing.lives:
            self._reporter.state("journals", **listing.data)
            self._asked = listing.at_ns is None
            if self._asked:
                self._wake()
        living = [one.pid for one in self._unit_processes.values() if one.code is None]
        self._publisher.look(journals, living, now_s)

    # --- orders -------------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        match order:
            case Start(unit=unit, life=life) if life > self._begun.get(unit, 0):  # else the order was given before
                self._begun[unit] = life
                self._start(order)
            case Sync():
                self._asked = True
            case Ship() if self._remote is not None:
                self._remote.work_dir.ship(order)  # each unit that cannot be started for it reports what is wrong
            case Stop(unit=unit, grace_ms=grace_ms) if unit in self._unit_processes:
                self._stop(self._unit_processes[unit], grace_ms)
            case Finish(grace_ms=grace_ms):
                self._finishing = True
                for one in self._unit_processes.values():
                    self._stop(one, grace_ms)
            case _:
                pass

    def _start(self, order: Start) -> None:
        try:
            if self._finishing:
                raise unit_process.NotStarted("the run is ending")
            if self._remote is not None:
                order = self._remote.work_dir.complete(order, os.environ)
                self._remote.forwarder.follow(order.unit, order.out, order.err)
            one = self._unit_processes[order.unit] = unit_process.start(order, self._marks)
        except unit_process.NotStarted as error:
            self._reporter.state("not-started", key=order.unit, why=str(error))
        else:
            self._reporter.state("spawned", key=order.unit, pid=one.pid)

    def _stop(self, one: UnitProcess, grace_ms: int) -> None:
        if one.kill_s is None and one.code is None:
            more = {"why": self._why, "deserted": self.runner_gone} if self._why else {}
            self._reporter.state("stopping", key=one.unit, pid=one.pid, grace_ms=grace_ms, **more)
        one.stop(monotonic(), grace_ms / 1e3)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Collect every child that is gone, adopted ones too."""
        by_pid = {one.pid: one for one in self._unit_processes.values()}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in by_pid:
                    by_pid[pid].has_ended(os.waitstatus_to_exitcode(status), monotonic())

    def _end_step(self, one: UnitProcess) -> None:
        """Bring the end of `one` a step further: SIGKILL when it is due; its journals when no process of it lives."""
        now_s = monotonic()
        if one.code is None:
            if one.kill_if_due(now_s):
                waited_ms = round((now_s - (one.stop_ordered_s or now_s)) * 1000)
                self._reporter.state("silent-end", key=one.unit, pid=one.pid, waited_ms=waited_ms)
        elif not one.recovering and one.is_gone(*self._orphans(one), now_s):
            one.recovering = True
            self._publisher.publish_unit(one.unit)

    def _report_end(self, published: Published) -> None:
        """Report `exited`: no process of the unit lives, and all that it emitted is in the log."""
        gone = self._unit_processes.pop(published.unit)
        gone.kill_on_exit.close()
        if self._remote is not None:
            self._remote.forwarder.forward(published.unit)
        lists = (("leftover", gone.leftover), ("problems", published.problems))
        more: dict[str, object] = {name: list(words) for name, words in lists if words}
        if gone.leftover:
            more["leftover_ms"] = round((monotonic() - gone.leftover_s) * 1000)
        if gone.by_itself and gone.stop_ordered_s is not None:  # what it left behind took until then
            more["by_itself"] = True
        self._reporter.state(
            "exited",
            key=published.unit,
            pid=gone.pid,
            code=gone.code,
            recovered=published.events,
            **gone.last_words(),
            **more,
        )

    def _orphans(self, one: UnitProcess) -> tuple[list[int], bool]:
        """Children of this process that no order started: those that `one` left, with its name or in its group; and
        whether there are some whose unit cannot be read, as for an instant of every exec."""
        mains = {other.pid for other in self._unit_processes.values()}
        orphans = {
            pid: process_tree.variable(pid, environment.UNIT)
            for pid in process_tree.children(os.getpid())
            if pid not in mains
        }
        own = [pid for pid, unit in orphans.items() if unit == one.unit or process_tree.group(pid) == one.pid]
        return own, any(not unit for unit in orphans.values())

    def _end_the_rest(self) -> None:
        """Kill what belongs to no unit and still lives; the audit names what this user may not kill."""
        deadline_s = monotonic() + unit_process.GIVE_UP_S
        while (left := process_tree.descendants(os.getpid())) and monotonic() < deadline_s:
            process_tree.signal_all(left, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(STEP_S)

    # --- waking up ----------------------------------------------------------------------------------------------------

    def _timeout_s(self) -> float | None:
        """How long the loop may sleep unless it is woken; None: for ever."""
        if any(one.code is not None and not one.recovering for one in self._unit_processes.values()):
            return STEP_S
        signals_s = [one.due_s for one in self._unit_processes.values() if one.due_s is not None]
        looks_s = [REMOTE_S] if self._remote is not None else []
        looks_s += [LOOK_S] if self._journals is not None and self._unit_processes else []
        due_s = [signal_s - monotonic() for signal_s in signals_s] + looks_s
        return max(0.0, min(*due_s, SLEEP_S)) if due_s else None

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_out, b"\0")

    def _end_by(self, number: int, _frame: object) -> None:
        self.ended_by = number
        self._why = self._why or f"got {signal.Signals(number).name}"
        self.order(Finish(int(LEASE_GRACE_S * 1000)))

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGCHLD wakes the loop; SIGTERM, SIGINT and SIGHUP say what the end of the lease says."""
        before = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        handlers = {signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None)}
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            handlers[number] = signal.signal(number, self._end_by)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
