"""The sender: one background thread that takes what is in the journals of all units of this process to the broker.

Belongs here: when to send and when to sleep, and how a socket is set up. What is said is `link`'s business. Nothing in
a unit ever waits for this thread, except who asked to wait.
"""

import math
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from probe import forks, shortage, wire
from probe.clock import monotonic
from probe.errors import warn
from probe.keys import Keys
from probe.native import Latch, allocate_lock, start_new_thread
from probe.wakeup import Wakeup

if TYPE_CHECKING:
    import zmq

SDK: Final = "circuit-run-python"
PACE_MS: Final = 2
"""Under load it collects for so long before it sends again: sending more often would only take the GIL away."""
BEGIN_S: Final = 5.0
"""A thread that has not begun after so long never will."""
LINGER_MS: Final = 200
"""How long a socket that is closed may still try to send; the journal has everything anyway."""
UNANSWERED_MS: Final = 4000
"""How long what was sent may stay unanswered by the other host's system until the connection is given up."""
CONNECT_MS: Final = 2000
"""How long a connection may take to come about."""
MAX_SOCKETS: Final = 16_384
"""Each unit of a process has two sockets; the default of 1,023 would be used up by 500 units."""


def keep_alive(socket: "zmq.Socket[Any]") -> None:
    """Have the system notice within half a minute that the host at the other end of a TCP connection is gone.
    Whoever accepts connections is so patient; whoever makes them tries a new one earlier (`reach_again`).

    ZeroMQ's own heartbeats would be quicker and are off: in 4.3 their timer aborts the whole process (an assertion in
    stream_engine_base.cpp) when a peer resets a connection that was not being read.
    """
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 10, 5, 3
    socket.tcp_maxrt = 30_000


def reach_again(socket: "zmq.Socket[Any]") -> None:
    """Have the system give up a TCP connection whose link is down, and ZeroMQ try new ones, so that one is there soon
    after the link is. The old one would be silent for as long again as the link was down: TCP doubles its pauses.
    """
    keep_alive(socket)
    socket.tcp_maxrt = UNANSWERED_MS
    socket.connect_timeout = CONNECT_MS


def open_socket(context: "zmq.Context[Any]", keys: Keys | None = None) -> "zmq.Socket[bytes]":
    """A DEALER set up for whoever speaks for a unit, ready to connect to the broker."""
    import zmq

    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.linger = LINGER_MS
    socket.sndhwm = 0  # the broker's credit bounds what is under way
    socket.immediate = 1  # nothing is queued for a broker that is not there: HELLO comes first on every connection
    socket.maxmsgsize = wire.MAX_FRAME_BYTES
    socket.reconnect_ivl = 20
    socket.reconnect_ivl_max = 1000
    reach_again(socket)
    if keys is not None:
        keys.secure(socket)
    return socket


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
        """When to come back though nobody calls, on the monotonic clock."""
        ...

    def open(self, context: "zmq.Context[Any]", poller: "zmq.Poller") -> None:
        """Called in every turn until there are `sockets`."""
        ...

    def turn(self, ready: set[Any]) -> bool:
        """Do what there is to do; `ready` has the sockets that have something. True if it sent events."""
        ...

    def doze(self) -> bool:
        """Call when there is something to do. False: there is something already."""
        ...

    def fail(self, why: str) -> None:
        """It cannot be done; `leave` comes next."""
        ...

    def leave(self, poller: "zmq.Poller") -> None:
        """Close the sockets, and open `done`."""
        ...


class SenderThread:
    """The thread. It begins with the first errand and ends with the last.

    It is one of the system's even where threads have become greenlets, and `threading` does not know of it: a library
    that replaces threads gives up on the locks that are held, those of imports too, in a program with more than one.
    A turn costs what the errands that have something to do cost, however many there are: those that called, those whose
    sockets have something, those whose time has come, and those that were not at rest after the turn before.
    """

    _gate = allocate_lock()
    _current: "SenderThread | None" = None

    def __init__(self) -> None:
        self._alarm = Wakeup()
        self._ended = Latch()
        self._begun = False
        self._started_s = monotonic()
        self._calls: deque[SenderTask] = deque()
        self._owners: dict[Any, SenderTask] = {}
        """Socket -> the errand that has it; two for each errand."""
        self._timers: dict[SenderTask, float] = {}

    @classmethod
    def of_process(cls, errand: SenderTask) -> "SenderThread":
        """The sender that runs `errand` from now on. Raises ImportError or RuntimeError where there can be none.

        pyzmq is imported here, not by the thread: who replaces locks meanwhile would break those of that import.
        """
        with forks.importing.lock:
            from probe import poll  # noqa: F401  (and pyzmq with it)
        with cls._gate:
            sender = cls._current
            if sender is None or not sender.is_alive:
                sender = cls._started()
                cls._current = sender
            sender.call(errand)
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
                sender._alarm.close()
                raise
        except (OSError, RuntimeError) as error:
            raise RuntimeError(f"this process {shortage.why(error)}" if shortage.why(error) else str(error)) from None
        return sender

    def call(self, errand: SenderTask) -> None:
        """From any thread: look at `errand` now. Never blocks."""
        self._calls.append(errand)
        self._alarm.ring()

    @property
    def is_alive(self) -> bool:
        """Whether it takes anything anywhere; not after the program has closed its descriptors, nor if its thread did
        not begin, as may be where there is no memory."""
        begins = self._begun or monotonic() < self._started_s + BEGIN_S
        return begins and not self._ended.is_open and self._alarm.is_ours

    def _run(self) -> None:
        self._begun = True
        _leave_signals_to_the_program()
        try:
            self._run_errands()
        except Exception as error:
            warn(f"events are sent no more: {type(error).__name__}: {error}; those in a journal are kept there")
        finally:
            self._ended.open()

    def _run_errands(self) -> None:
        import zmq

        from probe.poll import Poller

        context: zmq.Context[Any] = zmq.Context()
        context.max_sockets = MAX_SOCKETS
        poller, alarm = Poller(), Poller()
        for each in (poller, alarm):
            each.register(self._alarm.fd, zmq.POLLIN)
        restless: set[SenderTask] = set()
        try:
            while True:
                self._see_what_is_ours()
                ready = {socket for socket, _ in poller.poll(0 if restless else self._wait_ms())}
                self._see_what_is_ours()
                self._alarm.hush()  # before anything is looked at: whoever rings from now on is heard in the next turn
                errands = restless | self._called(ready)
                spoke = {errand for errand in errands if self._turn(errand, ready, context, poller)}
                restless = spoke | {errand for errand in errands if not errand.done.is_open and not errand.doze()}
                if spoke:
                    alarm.poll(PACE_MS)
                elif not self._owners and not self._timers and self._ends():
                    return
        finally:
            context.destroy(LINGER_MS)

    def _see_what_is_ours(self) -> None:
        """If the program has closed all descriptors, those of ZeroMQ are gone, too, which ends the whole process when
        it misses one: nothing of it is touched any more, nor given back, which this thread sees to by holding it."""
        if self._alarm.is_ours:
            return
        warn("the program has closed the descriptors of its probes: events are kept in the journal and sent no more")
        self._ended.open()
        Latch().wait()

    def _wait_ms(self) -> int | None:
        """How long nothing has to be done unless somebody calls."""
        if not self._timers:
            return None
        return math.ceil(max(0.0, min(self._timers.values()) - monotonic()) * 1000)

    def _called(self, ready: set[Any]) -> set[SenderTask]:
        """The errands that want to be looked at."""
        errands = {self._owners[socket] for socket in ready if socket in self._owners}
        while self._calls:
            errands.add(self._calls.popleft())
        if self._timers:
            now_s = monotonic()
            errands |= {errand for errand, due_s in self._timers.items() if due_s <= now_s}
        return errands

    def _turn(self, errand: SenderTask, ready: set[Any], context: "zmq.Context[Any]", poller: "zmq.Poller") -> bool:
        """Do for one errand what there is to do. True if it sent something of its journal."""
        self._timers.pop(errand, None)
        if errand.done.is_open:
            return False
        try:
            if not errand.sockets:
                errand.open(context, poller)
                self._owners.update(dict.fromkeys(errand.sockets, errand))
            spoke = errand.turn(ready)
            over = errand.over
        except Exception as error:  # it must not take the others with it
            errand.fail(f"{type(error).__name__}: {error}")
            spoke, over = False, True
        if over:
            for socket in errand.sockets:
                self._owners.pop(socket, None)
            errand.leave(poller)
        elif (due_s := errand.timer_s) is not None:
            self._timers[errand] = due_s
        return spoke and not over

    def _ends(self) -> bool:
        """Whether nobody has called since; if so, the next errand finds no sender and starts another one."""
        with self._gate:
            if self._calls:
                return False
            if SenderThread._current is self:
                SenderThread._current = None
            self._alarm.close()
            return True


def _leave_signals_to_the_program() -> None:
    """No signal comes to this thread: one that all threads of the program block would end the program here. Those that
    an instruction of the thread itself raises (SIGSEGV) cannot be blocked."""
    own = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - own)


def forget() -> None:
    """In a forked child: the thread and its sockets are the parent's, and so is whoever held the lock."""
    SenderThread._gate = allocate_lock()
    SenderThread._current = None
