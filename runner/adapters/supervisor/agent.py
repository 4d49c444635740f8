"""The agent: sits on a host, waits on a broker to be invited to runs, and starts a supervisor for each.

Belongs here: the idle connection, and the supervisors as processes. What a supervisor does is `loop`'s business; what
a run is about is not known here.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zmq

import circuit_run
from probe import clock, keys, recovery, shortage
from probe import message as m
from probe.clock import monotonic
from probe.connection import SDK, BrokerConnection, Disconnected, KeptOut
from probe.errors import KeysError, WireError
from probe.native import Latch, start_new_thread
from runner.adapters.signals import Signals
from runner.adapters.supervisor import work_dir
from runner.adapters.supervisor.config import SupervisorConfig
from runner.model.errors import BrokerFailed, UsageError
from runner.model.orders import supervisor_of
from runner.model.signals import signal_name

AGAIN: Final = 3
"""How often the supervisor of one run is started again after it was killed."""
NEWS_S: Final = 2.0
"""An agent that meets no broker for so long says so."""
CHECK_MS: Final = 500
"""How often is checked which supervisors have ended."""
END_S: Final = 15.0
"""How long supervisors may take to end when the agent is ordered to."""
PUBLISH_S: Final = 10.0
"""How long the broker may be silent about evidence of an earlier run."""


class Agent:
    """One host's agent, from its making to the end of `serve`. `say` takes lines for people.

    Raises UsageError for keys that are of no use.
    """

    def __init__(
        self, endpoint: str, name: str, key_file: Path | None, lease_s: float, say: Callable[[str], None]
    ) -> None:
        """`name` "" is the name of the key, without an "@"."""
        try:
            ours = (
                keys.load(key_file) if key_file is not None else keys.read(os.environ.get("CIRCUIT_KEYS", ""), endpoint)
            )
        except KeysError as error:
            raise UsageError(str(error)) from None
        self._name = (name or (ours.name if ours else "") or os.uname().nodename).removeprefix("@")
        self._endpoint = endpoint
        self._keys = ours
        self._lease_s = lease_s
        self._say = say
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        """Run -> its supervisor."""
        self._invited: list[str] = []
        """Runs that are to have a supervisor."""
        self._killed: dict[str, int] = {}
        """Run -> how often its supervisor was killed."""
        self._incarnation = clock.new_incarnation()
        """The same on every connection: an agent that comes back after a broken one takes its own place."""
        self._connection = BrokerConnection(endpoint, self._hello)
        self._joined = False
        self._complained = ""
        self._published = Latch()
        """Shut while evidence of earlier runs is brought, by one thread at a time."""
        self._published.open()

    def serve(self) -> None:
        """Until a signal. Raises BrokerFailed if it is no broker that answers."""
        shortage.ask_for_a_bus()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            with Signals() as signals:
                try:
                    self._serve(context, signals)
                finally:
                    self._connection.close()
        finally:
            self._end()
            context.term()

    def _serve(self, context: "zmq.Context[zmq.Socket[bytes]]", signals: Signals) -> None:
        connection = self._connection
        try:
            connection.open(context, self._keys)
        except zmq.ZMQError as error:
            raise UsageError(f"--join {self._endpoint}: {error.strerror}; expected tcp://HOST:PORT") from None
        socket, monitor = connection.sockets
        poller = zmq.Poller()
        poller.register(signals.fileno(), zmq.POLLIN)
        connection.register(poller)
        begun_s = monotonic()
        while True:
            ready = dict(poller.poll(CHECK_MS))
            if signals.taken():
                return
            if monitor in ready:
                self._watch()
            if not self._joined and not self._complained and monotonic() > begun_s + NEWS_S:
                self._is_away(f"meets no broker at {self._endpoint} yet, and goes on trying")
            connection.retry_connect()
            if socket in ready:
                self._receive()
            self._look_after_supervisors()

    def _hello(self) -> m.Hello:
        unit = supervisor_of(self._name)
        return m.Hello(m.VERSION, "agent", "", unit, self._incarnation, clock.boot_id(), os.getpid(), f"{SDK} agent")

    def _watch(self) -> None:
        for change in self._connection.watch():
            if isinstance(change, KeptOut):
                self._retry_later(f"is not let in by {self._endpoint}: {change.why}")
            elif isinstance(change, Disconnected) and self._joined:
                self._is_away(f"has lost {self._endpoint}, and goes on trying")

    def _is_away(self, why: str) -> None:
        self._joined = False
        self._invited.clear()  # a run that still wants us says so again when we are back
        if why != self._complained:
            self._complained = why
            self._say(f"agent {self._name} {why}")

    def _retry_later(self, why: str) -> None:
        self._is_away(f"{why}; it goes on trying")
        self._connection.retry_later()

    # --- what the broker says ---

    def _receive(self) -> None:
        try:
            received = self._connection.receive()
        except WireError as error:
            raise BrokerFailed(f"{self._endpoint} does not speak our protocol: {error}") from None
        match received.message if received is not None else None:
            case m.Welcome() if not self._joined:  # else it only wants to know whether we are still here
                self._joined, self._complained = True, ""
                self._say(f"agent {self._name} waits for runs on {self._endpoint}")
                if self._published.is_open:
                    self._published = Latch()
                    start_new_thread(self._publish, (self._published,))
            case m.Invite(run) if run not in self._running and run not in self._invited:
                self._invited.append(run)
            case m.Refused(why):
                self._retry_later(f"is refused by {self._endpoint}: {why}")

    # --- supervisors ---

    def _start(self, run: str) -> None:
        config = SupervisorConfig(
            self._endpoint, run, self._name, self._keys.text() if self._keys else "", self._lease_s
        )
        try:
            process = subprocess.Popen(
                [*circuit_run.PROCESS, "runner.adapters.supervisor.supervisor", "--charter"],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._say(f"run {run}: its supervisor cannot be started: {error.strerror}")
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(config.text().encode())
        self._running[run] = process
        self._say(f"run {run}: supervised (pid {process.pid})")

    def _look_after_supervisors(self) -> None:
        """Start the supervisors that are wanted, once nothing of earlier runs is in their way. One that was killed is
        started again: what its units had written down is published by the next."""
        if self._published.is_open:
            while self._invited:
                self._start(self._invited.pop())
        for run, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[run]
            self._killed[run] = self._killed.get(run, 0) + (code < 0)
            if code < 0 and self._killed[run] <= AGAIN:
                self._say(f"run {run}: its supervisor was killed by {signal_name(-code)}, and is started again")
                self._start(run)
            else:
                self._killed.pop(run, None)
                self._say(f"run {run}: over" + (f"; its supervisor ended with code {code}" if code else ""))

    def _end(self) -> None:
        """End every supervisor: politely, and then not."""
        deadline_s = monotonic() + END_S
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline_s - monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()

    # --- evidence of earlier runs ---

    def _publish(self, done: Latch) -> None:
        """What units on this host wrote down in earlier runs, and the broker has not got."""
        try:
            self._publish_all()
        finally:
            done.open()

    def _publish_all(self) -> None:
        for folder in work_dir.unpublished(self._endpoint):
            found = recovery.recover(folder / "journals", self._endpoint, keys=self._keys, timeout_s=PUBLISH_S)
            events = sum(one.events for one in found)
            if problem := next((one.problem for one in found if one.problem), ""):
                self._say(f"{folder.name}: evidence of an earlier run is not published: {problem}")
                continue
            work_dir.discard(folder)
            self._say(f"{folder.name}: evidence of an earlier run is published ({events:,} events)")
