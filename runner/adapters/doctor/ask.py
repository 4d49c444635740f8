"""Puts questions to a machine: over ssh, or here, to a Python that is given `examine` to run.

Belongs here: processes, pipes and the time they may take. Must not know what is good or bad. Always answers: a machine
that cannot be asked is `Silence`. Nothing stays there: the script is never written to a file, and ends with its input.
"""

import contextlib
import json
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from probe.clock import monotonic, monotonic_ns
from runner.adapters.doctor import callback_port as callback_port
from runner.adapters.doctor.examine import CONNECT_S, MARK
from runner.core.doctor.facts import (
    CallbackAttempt,
    ClockFacts,
    Exchange,
    Facts,
    Join,
    Joined,
    Machine,
    MachineAnswers,
    Silence,
    WayBack,
)

AT_ONCE: Final = 16
"""So many machines are asked at the same time."""
PATIENCE_S: Final = 30.0
"""How long a machine may take to log in and answer first; ssh itself gives up a connection after ten seconds."""
ANSWER_S: Final = 10.0
"""How long a later answer may take, beyond what it waits for by itself."""
LEAVE_S: Final = 2.0
EXCHANGES: Final = 20
"""So many questions about the time, half of them at the beginning and half at the end."""
MOST_LINES: Final = 60
"""So many last lines of standard error are looked at."""
SSH: Final = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_SCRIPT: Final = Path(__file__).with_name("examine.py")
_LONGEST: Final = 1 << 20
_CHATTER: Final = ("Warning: Permanently added",)
"""What ssh says on standard error though all is well."""

T = TypeVar("T")


def ask(
    targets: Sequence[Machine], join: Join | None = None, held: "callback_port.CallbackPort | None" = None
) -> list[MachineAnswers | Silence]:
    """Ask every one of `targets` everything, several at a time: whether it gets to `join`, and whether it reaches this
    machine (at `held`, else at a port opened for it) if it is another one. Ends at once when it is interrupted."""
    going_on, over = os.pipe()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                return list(pool.map(lambda target: _answers_of(target, join, held, going_on), targets))
            finally:
                os.close(over)  # who still waits for an answer waits no more
                pool.shutdown(cancel_futures=True)
    finally:
        os.close(going_on)


def _answers_of(
    target: Machine, join: Join | None, held: "callback_port.CallbackPort | None", going_on: int
) -> MachineAnswers | Silence:
    script = _SCRIPT.read_bytes()
    # the only word that a shell there has to understand; works in Python 2 as well, so that it can say that it is old
    start = f"{target.python} -c 'import sys; exec(getattr(sys.stdin, \"buffer\", sys.stdin).read({len(script)}))'"
    argv = ["sh", "-c", start] if target.ssh is None else [*SSH, "--", target.ssh, start]
    begun_ns = monotonic_ns()
    try:
        with _Conversation(argv, going_on) as talk:
            talk.give(script)
            facts = talk.ask(Facts, PATIENCE_S, ask="facts")
            took_ns = monotonic_ns() - begun_ns
            exchanges = [] if target.ssh is None else [_exchange(talk) for _ in range(EXCHANGES // 2)]
            callback, back = (None, None) if target.ssh is None else _way_back(talk, target.ssh, facts.seen_at, held)
            joined = None
            if join is not None:
                wait_s = 3 * CONNECT_S + ANSWER_S
                joined = talk.ask(Joined, wait_s, ask="join", host=join.host, port=join.port, keys=join.keys)
            exchanges += [_exchange(talk) for _ in exchanges]
            return MachineAnswers(facts, took_ns, tuple(exchanges), callback, back, joined)
    except _Silent as silent:
        return silent.why


def _exchange(talk: "_Conversation") -> Exchange:
    sent = _now()
    there = talk.ask(ClockFacts, ANSWER_S, ask="ping")
    return Exchange(sent, there, _now())


def _now() -> ClockFacts:
    return ClockFacts(monotonic_ns(), time.time_ns())


def _way_back(
    talk: "_Conversation", destination: str, seen_at: str, held: "callback_port.CallbackPort | None"
) -> tuple[CallbackAttempt, WayBack | None]:
    """Whether the host reaches this machine."""
    known: list[str] = [seen_at] if seen_at else []
    with contextlib.ExitStack() as stack:
        port = held
        if port is None and (port := callback_port.CallbackPort.on_first(known)) is None:
            known = list(_ways(destination))
            port = callback_port.CallbackPort.on_first(known)
        if port is None:
            return CallbackAttempt(why=f"the host sees it as {seen_at}" if seen_at else ""), None
        if not port.fixed:
            stack.enter_context(port)
        elif port.addresses(()) == ():
            known = list(dict.fromkeys([*known, *_ways(destination)]))
        addresses = port.addresses([port.host] if not port.fixed else known)
        with port.lock:
            token = callback_port.new_token()
            wait_s = CONNECT_S * max(len(addresses), 1) + ANSWER_S
            back = talk.ask(WayBack, wait_s, ask="back", addresses=addresses, port=port.port, token=token)
            came = bool(back.reached) and port.came(token)
        return CallbackAttempt(addresses, port.port, came=came), back


def _ways(destination: str) -> Iterator[str]:
    """The address of this machine from which packets to the host leave, if ssh knows a host that the system knows."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        asked = [SSH[0], "-G", "--", destination]
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=ANSWER_S)
        options = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
        if address := callback_port.towards(options.get("hostname", ""), int(options.get("port", "22"))):
            yield address


class _Silent(Exception):
    """The machine does not answer."""

    def __init__(self, why: Silence) -> None:
        super().__init__(why)
        self.why = why


class _Conversation:
    """A process that answers lines with lines, and is ended at the end. Raises _Silent when it does not answer, or when
    the file descriptor `going_on` is at its end."""

    def __init__(self, argv: Sequence[str], going_on: int) -> None:
        self._begun = False
        self._rest = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__; a pipe could fill up
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0
            )
        except OSError as error:
            self._errors.close()
            raise _Silent(Silence(None, (str(error.strerror),), missing=argv[0])) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(going_on, selectors.EVENT_READ)
        self._going_on = going_on

    def give(self, data: bytes) -> None:
        """Write `data` to its standard input. What is not taken is noticed when the answer is awaited."""
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._in.fileno(), data) :]

    def ask(self, kind: type[T], patience_s: float, **question: object) -> T:
        """The answer to `question`."""
        self.give(json.dumps(question).encode("ascii") + b"\n")
        mark = MARK.encode("ascii")
        end_s = monotonic() + patience_s
        while not (line := self._line(end_s, patience_s)).startswith(mark):
            pass  # a shell that greets
        self._begun = True
        try:
            return msgspec.json.decode(line[len(mark) :], type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _Silent(Silence(0, (str(error),), begun=True)) from None

    def _line(self, end_s: float, patience_s: float) -> bytes:
        while b"\n" not in self._rest:
            ready = self._selector.select(max(0.0, end_s - monotonic()))
            if not ready or any(key.fd == self._going_on for key, _ in ready):
                raise _Silent(Silence(None, self._words(), waited_s=patience_s, begun=self._begun))
            more = os.read(self._out.fileno(), 65536)
            if not more or len(self._rest) > _LONGEST:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(LEAVE_S)
                raise _Silent(Silence(self._process.poll(), self._words(), begun=self._begun))
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _words(self) -> tuple[str, ...]:
        """The last lines that it wrote to standard error."""
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").splitlines()
        lines = [line.rstrip() for line in said if line.strip() and not line.startswith(_CHATTER)]
        return tuple(lines[-MOST_LINES:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in.close()
        try:
            self._process.wait(LEAVE_S if kind is None else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._selector.close()
        self._out.close()
        self._errors.close()
