"""The supervisor at work: one loop that takes orders (Start, Stop, Finish; Ship on another host), reaps children and
reports what became of them as events of kind `state` (docs/design.md).

Belongs here: that loop. Must not decide anything about a scenario, and never judges a unit by its silence.
"""

import collections
import contextlib
import math
import os
import queue
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from probe import environment
from probe.clock import monotonic
from probe.message import Finish, Order, Ship, Start, Stop, Sync
from probe.native import Latch, start_new_thread
from runner.adapters import process_tree
from runner.adapters.supervisor import unit_process
from runner.adapters.supervisor.unit_process import UnitProcess

if TYPE_CHECKING:
    from probe.recovery import Recovered
    from runner.adapters.supervisor.journals import Journals
    from runner.adapters.supervisor.lease import Lease
    from runner.adapters.supervisor.output_forwarder import OutputForwarder
    from runner.adapters.supervisor.work_dir import WorkDir

LEASE_GRACE_S: Final = 1.0
"""How long units have to end by themselves when the runner is gone."""
STEP_S: Final = 0.005
"""How often is looked at what the kernel does not report: the end of a process group."""
SLEEP_S: Final = 3600.0
"""Longest sleep; selectors refuse what is over some weeks, and a unit may be given longer to end."""

ANSWER_S: Final = 15.0
"""How long the broker may be silent about a journal. The runner starts one again that was killed, several times if need
be, and on a busy machine each time takes some seconds."""
DESERTED_ANSWER_S: Final = 1.0
"""The same when the runner is gone: nobody would start a broker again that was killed, too."""

BEGIN_S: Final = 5.0
"""A thread that has not begun after so long never will."""
LOOK_S: Final = 0.1
"""How often is looked, while a unit lives, whether one of its processes has left a journal behind."""
RETRY_S: Final = 1.0
MOST_RETRY_S: Final = 30.0
"""After how long is tried again to publish a journal that could not be, or that was left alone: at first, and twice as
long each time, up to this."""

TEND_S: Final = 0.2
"""On another host: how often is looked what units have written, and whether the lease is over."""

Recover = Callable[[Callable[[], float]], "Sequence[Recovered]"]
"""Publishes what processes that are dead wrote down and could not send any more; asks how long, in seconds, the broker
may be silent."""


class StateReporter(Protocol):
    """How the supervisor reports; `probe.units.Unit` is one."""

    def state(self, step: str, /, key: object = None, **data: object) -> None: ...

    @property
    def speechless(self) -> str: ...


class Speechless(Exception):
    """Why nothing of what is reported gets to the broker any more; completes "the supervisor ..."."""


class RemoteServices(NamedTuple):
    """What a supervisor on another host has beside its orders."""

    here: "WorkDir"
    lease: "Lease"
    outlet: "OutputForwarder"
    refused: Callable[[], str] = str
    """Why the broker will not hear of us, "" while it may."""


class SupervisorLoop:
    """Everything in its care. `order` may be called from any thread, all else belongs to the thread of `serve`."""

    def __init__(
        self,
        voice: StateReporter,
        recover: Recover,
        lease_fd: int | None,
        begun: Sequence[UnitProcess] = (),
        abroad: RemoteServices | None = None,
        journals: "Journals | None" = None,
        give_up: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        """`begun` are processes that were started before; reading from `lease_fd` ends when the runner is gone.
        `abroad` is for another host than the runner's. `journals` are those of all units here. `give_up` ends this
        process if an error says that nothing is left of what everybody needs."""
        self._abroad = abroad
        self._journals = journals
        self._give_up = give_up
        self._marks = journals.marks.fd if journals is not None and journals.marks is not None else -1
        self._asked = False
        """The runner wants to know who keeps a journal."""
        self._look_s = 0.0
        """When to look next whether a journal was left behind."""
        self._publish_s = 0.0
        """When to publish again what was left behind."""
        self._retry_s = RETRY_S
        self._counted: collections.Counter[str] = collections.Counter()
        """Unit -> events that were published of its journals and have not been told yet."""
        self._tend_s = 0.0
        """When to look next what units have written."""
        self._voice = voice
        self._recover = recover
        self._lease_fd = lease_fd
        self._inbox: collections.deque[Order] = collections.deque()
        self._recovered: collections.deque[tuple[str, int, list[str]]] = collections.deque()
        """(unit, events published, what was in the way) of recoveries that are done."""
        self._to_publish: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        """What is to be published, in turn; None: there will be no more."""
        self._publishes, self._all_published = Latch(), Latch()
        self._publishing = threading.Lock()
        """Held by that thread at its work: meanwhile nobody can say what was left behind."""
        self._charges: dict[str, UnitProcess] = {one.unit: one for one in begun}
        self._begun: dict[str, int] = {one.unit: 1 for one in begun}
        """Unit -> its last life that we were told to start."""
        self._finishing = False
        self.ended_by = 0
        """The signal that told it to finish, if one did: nobody has told the runner."""
        self.deserted = False
        """The lease is over: the runner is gone."""
        self._why = ""
        """Why it ends units that nobody told it to end; completes "its supervisor ..."."""
        self._unheard = False
        """The broker is gone, too."""
        self._wake_in, self._wake_out = os.pipe()
        for fd in (self._wake_in, self._wake_out):
            os.set_blocking(fd, False)

    def order(self, order: Order) -> None:
        """Take an order; never blocks."""
        self._inbox.append(order)
        self._wake()

    def serve(self) -> None:
        """Until told to finish, by an order, a signal or the end of the lease. No unit lives then, nor what it left."""
        start_new_thread(self._publish_in_turn, ())  # not of `threading`, which waits for ever if that fails
        if not self._publishes.wait(BEGIN_S):  # where there is no memory it may end before it begins
            self._give_up(RuntimeError("can't start new thread"))
        with selectors.DefaultSelector() as selector, self._signals():
            selector.register(self._wake_in, selectors.EVENT_READ)
            if self._lease_fd is not None:
                selector.register(self._lease_fd, selectors.EVENT_READ)
            lease = {"lease_s": self._abroad.lease.seconds} if self._abroad else {}
            self._voice.state("serving", **lease, **(self._journals.look().data if self._journals else {}))
            for one in self._charges.values():
                self._voice.state("spawned", key=one.unit, pid=one.pid)
            self._wake()  # one of them may have ended before we listened
            while self._charges or not self._finishing:
                for key, _ in selector.select(self._patience_s()):
                    if key.fd == self._wake_in:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_in, 4096)
                    elif not os.read(key.fd, 4096):
                        selector.unregister(key.fd)
                        self.deserted = True
                        self._inbox.append(Finish(int(LEASE_GRACE_S * 1000)))
                if why := self._voice.speechless:
                    self._give_up(Speechless(why))
                while self._inbox:
                    self._obey(self._inbox.popleft())
                if self._abroad is not None:
                    self._tend(self._abroad)
                self._reap()
                if self._journals is not None:
                    self._look(self._journals)
                for one in list(self._charges.values()):
                    self._attend(one)
        self._to_publish.put(None)
        self._all_published.wait()
        if self.deserted or self.ended_by:  # else the runner inherits them, and its audit names them
            self._end_the_rest()

    @property
    def began(self) -> bool:
        """Whether it was told to start any unit."""
        return bool(self._begun)

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _tend(self, abroad: RemoteServices) -> None:
        """Tell what units have written; see whether there is a runner yet."""
        now_s = monotonic()
        if now_s >= self._tend_s:
            self._tend_s = now_s + TEND_S
            abroad.outlet.tell()
        if not self.deserted and (abroad.lease.left_s <= 0 or abroad.refused()):
            self.deserted = True
            self._why = "had heard of no runner for its lease, or was told that there is none"
            self._obey(Finish(int(LEASE_GRACE_S * 1000)))

    def _look(self, journals: "Journals") -> None:
        """See who keeps a journal, and say so if that is news or was asked for; publish what was left behind."""
        now_s = monotonic()
        if not self._asked and now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        listing = journals.look()
        if self._asked or listing.lives:
            self._voice.state("journals", **listing.data)
            self._asked = listing.at_ns is None
            if self._asked:
                self._wake()
        if now_s >= self._publish_s and self._publishing.acquire(blocking=False):
            try:
                left = journals.abandoned([one.pid for one in self._charges.values() if one.code is None])
            finally:
                self._publishing.release()
            if left:
                self._publish_s = math.inf
                self._to_publish.put(self._publish_left)

    # --- orders -------------------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        match order:
            case Start(unit=unit, life=life) if life > self._begun.get(unit, 0):  # else it is said once more
                self._begun[unit] = life
                try:
                    if self._finishing:
                        raise unit_process.NotStarted("the run is ending")
                    if self._abroad is not None:
                        order = self._abroad.here.complete(order, os.environ)
                        self._abroad.outlet.follow(unit, order.out, order.err)
                    one = self._charges[unit] = unit_process.start(order, self._marks)
                except unit_process.NotStarted as error:
                    self._voice.state("not-started", key=unit, why=str(error))
                else:
                    self._voice.state("spawned", key=unit, pid=one.pid)
            case Sync():
                self._asked = True
            case Ship() if self._abroad is not None:
                self._abroad.here.ship(order)  # what is wrong with it each unit says that cannot be started for it
            case Stop(unit=unit, grace_ms=grace_ms) if unit in self._charges:
                self._stop(self._charges[unit], grace_ms)
            case Finish(grace_ms=grace_ms):
                self._finishing = True
                for one in self._charges.values():
                    self._stop(one, grace_ms)
            case _:
                pass

    def _stop(self, one: UnitProcess, grace_ms: int) -> None:
        if one.kill_s is None and one.code is None:
            more = {"why": self._why, "deserted": self.deserted} if self._why else {}
            self._voice.state("stopping", key=one.unit, pid=one.pid, grace_ms=grace_ms, **more)
        one.stop(monotonic(), grace_ms / 1e3)

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Collect every child that is gone, adopted ones too."""
        by_pid = {one.pid: one for one in self._charges.values()}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid in by_pid:
                    by_pid[pid].has_ended(os.waitstatus_to_exitcode(status), monotonic())

    def _attend(self, one: UnitProcess) -> None:
        """Bring the end of `one` a step further. `exited` is said when all that belongs to it is gone and all that it
        emitted is in the log."""
        now_s = monotonic()
        if one.code is None:
            if one.kill_if_due(now_s):
                waited_ms = round((now_s - (one.told_s or now_s)) * 1000)
                self._voice.state("silent-end", key=one.unit, pid=one.pid, waited_ms=waited_ms)
        elif not one.recovering and one.is_gone(*self._orphans(one), now_s):
            one.recovering = True
            self._to_publish.put(partial(self._publish, one.unit))
        while self._recovered:
            unit, recovered, problems = self._recovered.popleft()
            gone = self._charges.pop(unit)
            gone.tie.close()
            if self._abroad is not None:
                self._abroad.outlet.tell(unit)
            more: dict[str, object] = {
                name: list(words) for name, words in (("leftover", gone.leftover), ("problems", problems)) if words
            }
            if gone.leftover:
                more["leftover_ms"] = round((monotonic() - gone.leftover_s) * 1000)
            if gone.by_itself and gone.told_s is not None:  # what it left behind took until then
                more["by_itself"] = True
            self._voice.state(
                "exited", key=unit, pid=gone.pid, code=gone.code, recovered=recovered, **gone.last_words(), **more
            )

    def _publish_in_turn(self) -> None:
        """In a thread of its own, as it waits for the broker; one that is there from the beginning, for later there may
        be none to be had."""
        self._publishes.open()
        try:
            while (publish := self._to_publish.get()) is not None:
                publish()
        except Exception as error:
            self._give_up(error)
            raise
        finally:
            self._all_published.open()

    def _publish(self, unit: str) -> None:
        """What its processes left behind, now that the last is gone. A process may have spoken as several units, so
        each looks at all journals."""
        try:
            problems = [journal.problem for journal in self._publish_all() if journal.problem]
        except MemoryError:  # it would take more to tell it
            raise
        except Exception as error:  # whatever it was, the end of the unit must be told
            problems = [f"journals were not read: {type(error).__name__}: {error}"]
        self._recovered.append((unit, self._counted.pop(unit, 0), problems))
        self._wake()

    def _publish_left(self) -> None:
        """What processes left behind whose unit lives. What could not be published is tried again, at the latest when
        the unit has ended; so is what a process seems to have left that only closed all its files."""
        done = False
        with contextlib.suppress(Exception):
            journals = self._publish_all()
            done = bool(journals) and not any(journal.problem for journal in journals)
        self._publish_s = monotonic() + (0.0 if done else self._retry_s)
        self._retry_s = RETRY_S if done else min(2 * self._retry_s, MOST_RETRY_S)
        self._wake()

    def _publish_all(self) -> "Sequence[Recovered]":
        """Publish what is left of processes that are gone. In turn, so that no unit is done while what belongs to it
        is still published."""
        with self._publishing:
            journals = self._recover(self._answer_s)
            self._unheard = self.deserted and any(journal.unheard for journal in journals)
            for journal in journals:
                self._counted[journal.unit] += journal.events
        return journals

    def _answer_s(self) -> float:
        if self._unheard:
            return 0.0
        return DESERTED_ANSWER_S if self.deserted else ANSWER_S

    def _orphans(self, one: UnitProcess) -> tuple[list[int], bool]:
        """Children of ours that no order started: those that `one` left, with its name or in its group; and whether
        there are some of which nothing can be told, as for an instant of every exec."""
        mains = {other.pid for other in self._charges.values()}
        orphans = {
            pid: process_tree.variable(pid, environment.UNIT)
            for pid in process_tree.children(os.getpid())
            if pid not in mains
        }
        own = [pid for pid, unit in orphans.items() if unit == one.unit or process_tree.group(pid) == one.pid]
        return own, any(not unit for unit in orphans.values())

    def _end_the_rest(self) -> None:
        """Whatever belongs to no unit and still lives; what may not be ended (another user's) is left to the audit."""
        deadline_s = monotonic() + unit_process.GIVE_UP_S
        while (left := process_tree.descendants(os.getpid())) and monotonic() < deadline_s:
            process_tree.signal_all(left, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(STEP_S)

    # --- waking up ----------------------------------------------------------------------------------------------------

    def _patience_s(self) -> float | None:
        """How long nothing can be due that does not wake the loop; None: for ever."""
        if any(one.code is not None and not one.recovering for one in self._charges.values()):
            return STEP_S
        signals_s = [one.due_s for one in self._charges.values() if one.due_s is not None]
        looks_s = [TEND_S] if self._abroad is not None else []
        looks_s += [LOOK_S] if self._journals is not None and self._charges else []
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
