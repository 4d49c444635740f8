"""The sender: one background thread that takes what is in the journals of all units of this process to the broker.

Belongs here: when to send and when to sleep. What is said is `link`'s business. Nothing in a unit ever waits for this
thread, except a caller that asked to wait.
"""

import math
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from probe import forks, shortage
from probe.clock import monotonic
from probe.connection import LINGER_MS
from probe.errors import warn
from probe.native import Latch, allocate_lock, start_new_thread
from probe.wakeup import Wakeup

if TYPE_CHECKING:
    import zmq

PACE_MS: Final = 2
"""Under load it collects for so long before it sends again: sending more often would only take the GIL away."""
BEGIN_S: Final = 5.0
"""A thread that has not begun after so long never will."""
MAX_SOCKETS: Final = 16_384
"""Each unit of a process has two sockets; the default of 1,023 would be used up by 500 units."""


class SenderTask(Protocol):
    """What the sender runs; `probe.link.Link` is one. All of it is called in the sender's thread."""

    done: Latch

    @property
    def sockets(self) -> "tuple[zmq.Socket[bytes], ...]":
        """What to listen to; () before `open`."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing is left to do, or no time is left to do it in."""
        ...

    @property
    def timer_s(self) -> float | None:
        """When the task has something to do without a call, on the monotonic clock."""
        ...

    def open(self, context: "zmq.Context[Any]", poller: "zmq.Poller") -> None:
        """Called in every turn until there are `sockets`."""
        ...

    def turn(self, ready: set[Any]) -> bool:
        """Do what there is to do; `ready` has the sockets that have something. True if it sent events."""
        ...

    def arm_wakeup(self) -> bool:
        """Have the thread woken when there is something to do. False: there is something already."""
        ...

    def fail(self, why: str) -> None:
        """It cannot be done; `leave` comes next."""
        ...

    def leave(self, poller: "zmq.Poller") -> None:
        """Close the sockets, and open `done`."""
        ...


class SenderThread:
    """The thread. It begins with the first task and ends with the last.

    It is one of the system's even where threads have become greenlets, and `threading` does not know of it: a library
    that replaces threads gives up on the locks that are held, those of imports too, in a program with more than one.
    A turn costs what the tasks that have something to do cost, however many there are: those that called, those whose
    sockets have something, those whose time has come, and those that were not at rest after the turn before.
    """

    _gate = allocate_lock()
    _current: "SenderThread | None" = None

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._ended = Latch()
        self._begun = False
        self._started_s = monotonic()
        self._calls: deque[SenderTask] = deque()
        self._owners: dict[Any, SenderTask] = {}
        """Socket -> the task that has it; two for each task."""
        self._timers: dict[SenderTask, float] = {}

    @classmethod
    def of_process(cls, task: SenderTask) -> "SenderThread":
        """The sender that runs `task` from now on. Raises ImportError or RuntimeError where there can be none.

        pyzmq is imported here, not by the thread: a library that replaces locks meanwhile would break those of that
        import.
        """
        with forks.importing.lock:
            from probe import poll  # noqa: F401  (and pyzmq with it)
        with cls._gate:
            sender = cls._current
            if sender is None or not sender.is_alive:
                sender = cls._started()
                cls._current = sender
            sender.call(task)
        return sender

    @classmethod
    def _started(cls) -> "SenderThread":
        """A sender whose thread runs. Raises RuntimeError where there is too little for it."""
        try:
            shortage.ask_for_a_bus()
            sender = cls()
            try:
                start_new_thread(sender._run, ())
            except RuntimeError:
                sender._wakeup.close()
                raise
        except (OSError, RuntimeError) as error:
            raise RuntimeError(f"this process {shortage.why(error)}" if shortage.why(error) else str(error)) from None
        return sender

    def call(self, task: SenderTask) -> None:
        """From any thread: give `task` a turn now. Never blocks."""
        self._calls.append(task)
        self._wakeup.set()

    @property
    def is_alive(self) -> bool:
        """Whether it takes anything anywhere; not after the program has closed its descriptors, nor if its thread did
        not begin, as may be where there is no memory."""
        begins = self._begun or monotonic() < self._started_s + BEGIN_S
        return begins and not self._ended.is_open and self._wakeup.is_ours

    def _run(self) -> None:
        self._begun = True
        _leave_signals_to_the_program()
        try:
            self._run_tasks()
        except Exception as error:
            warn(f"events are sent no more: {type(error).__name__}: {error}; those in a journal are kept there")
        finally:
            self._ended.open()

    def _run_tasks(self) -> None:
        import zmq

        from probe.poll import Poller

        context: zmq.Context[Any] = zmq.Context()
        context.max_sockets = MAX_SOCKETS
        poller, wakeup = Poller(), Poller()
        for each in (poller, wakeup):
            each.register(self._wakeup.fd, zmq.POLLIN)
        restless: set[SenderTask] = set()
        try:
            while True:
                self._see_what_is_ours()
                ready = {socket for socket, _ in poller.poll(0 if restless else self._wait_ms())}
                self._see_what_is_ours()
                self._wakeup.clear()  # before any task: what is set from now on is seen in the next turn
                tasks = restless | self._called(ready)
                sent = {task for task in tasks if self._turn(task, ready, context, poller)}
                restless = sent | {task for task in tasks if not task.done.is_open and not task.arm_wakeup()}
                if sent:
                    wakeup.poll(PACE_MS)
                elif not self._owners and not self._timers and self._ends():
                    return
        finally:
            context.destroy(LINGER_MS)

    def _see_what_is_ours(self) -> None:
        """If the program has closed all descriptors, those of ZeroMQ are gone, too, which ends the whole process when
        it misses one: nothing of it is touched any more, nor given back, which this thread sees to by holding it."""
        if self._wakeup.is_ours:
            return
        warn("the program has closed the descriptors of its probes: events are kept in the journal and sent no more")
        self._ended.open()
        Latch().wait()

    def _wait_ms(self) -> int | None:
        """How long there is nothing to do without a call."""
        if not self._timers:
            return None
        return math.ceil(max(0.0, min(self._timers.values()) - monotonic()) * 1000)

    def _called(self, ready: set[Any]) -> set[SenderTask]:
        """The tasks that have a turn now."""
        tasks = {self._owners[socket] for socket in ready if socket in self._owners}
        while self._calls:
            tasks.add(self._calls.popleft())
        if self._timers:
            now_s = monotonic()
            tasks |= {task for task, due_s in self._timers.items() if due_s <= now_s}
        return tasks

    def _turn(self, task: SenderTask, ready: set[Any], context: "zmq.Context[Any]", poller: "zmq.Poller") -> bool:
        """Do for one task what there is to do. True if it sent something of its journal."""
        self._timers.pop(task, None)
        if task.done.is_open:
            return False
        try:
            if not task.sockets:
                task.open(context, poller)
                self._owners.update(dict.fromkeys(task.sockets, task))
            sent = task.turn(ready)
            over = task.over
        except Exception as error:  # it must not take the others with it
            task.fail(f"{type(error).__name__}: {error}")
            sent, over = False, True
        if over:
            for socket in task.sockets:
                self._owners.pop(socket, None)
            task.leave(poller)
        elif (due_s := task.timer_s) is not None:
            self._timers[task] = due_s
        return sent and not over

    def _ends(self) -> bool:
        """Whether there was no call since; if so, the next task finds no sender and starts another one."""
        with self._gate:
            if self._calls:
                return False
            if SenderThread._current is self:
                SenderThread._current = None
            self._wakeup.close()
            return True


def _leave_signals_to_the_program() -> None:
    """No signal comes to this thread: one that all threads of the program block would end the program here. Those that
    an instruction of the thread itself raises (SIGSEGV) cannot be blocked."""
    own = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - own)


def forget() -> None:
    """In a forked child: the thread, its sockets and the holder of the lock are the parent's."""
    SenderThread._gate = allocate_lock()
    SenderThread._current = None
