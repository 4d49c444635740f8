"""The processes a run has beside its units, as the runner holds them: started with a lease, heard, ended.

Belongs here: how broker and supervisor are started and ended. Must not know what they do. The lease is a pipe whose
writing end the runner holds; when that closes, be it because the runner was killed, the process ends by itself.
"""

import contextlib
import dataclasses
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import circuit_run
from broker import endpoints
from broker.endpoints import MAX_IPC_BYTES
from broker.errors import FULL, BrokerError
from probe import environment, private
from probe.clock import monotonic
from probe.errors import FolderError
from probe.message import Start
from runner.adapters import process_tree
from runner.adapters.launch.last_words import LastWords
from runner.adapters.start_orders import RunContext
from runner.model.errors import BrokerFailed, CircuitRunError, DiskFull, SupervisorFailed

READY_S: Final = 10.0
"""How long the broker may take until it listens."""
REBUILD_S: Final = 60.0
"""The same for one that has a log to read first."""
CLOSE_S: Final = 5.0
"""How long it may take to end once its lease is over."""
STEP_S: Final = 0.005
"""How often is looked whether what got SIGKILL is gone."""
_CHUNK: Final = 4096
_PRIVATE: Final = "circuit-bus-"
"""How names of private folders begin."""


class LeasedProcess:
    """One process. What it writes to standard error is kept in `<name>.err` in the run folder, if there is room."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        failed: type[CircuitRunError],
        given: str = "",
    ) -> None:
        """Start it; raises `failed` if that is not possible, and from then on whenever something is wrong with it. It
        finds `given` on its standard input."""
        self._name = name
        self._failed = failed
        self._heard = b""
        """What it has written to standard output and was not read yet."""
        self._words = LastWords(folder / f"{name}.err")
        lease, self._lease = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*argv, "--lease-fd", str(lease)],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words.theirs,
                pass_fds=(lease,),
                start_new_session=True,  # Ctrl-C is for the runner, which ends the others in order
            )
        except OSError as error:
            os.close(self._lease)
            self._words.close()
            raise failed(f"the {name} could not be started: {error}") from None
        finally:
            os.close(lease)
            os.close(self._words.theirs)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out = self._process.stdout
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:  # its end is noticed elsewhere
            stdin.write(given.encode())

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it ended, as in `subprocess`; None: it lives."""
        return self._process.poll()

    def fileno(self) -> int:
        """Readable when it has written to standard output, and when it has ended: no other process holds that."""
        return self._out.fileno()

    def said(self, start: bytes, timeout_s: float) -> str:
        """What follows `start` in the next line on standard output that begins so."""
        deadline = monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            while True:
                while b"\n" in self._heard:
                    line, _, self._heard = self._heard.partition(b"\n")
                    if line.startswith(start):
                        return line.removeprefix(start).decode().strip()
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise self._failure(f"did not say {start.decode().strip()!r} within {timeout_s:g} s")
                if not (read := os.read(self._out.fileno(), _CHUNK)):
                    raise self._failure(f"ended with code {self._process.wait()}")
                self._heard += read

    def words(self) -> str:
        """The last that it wrote to standard error."""
        return self._words.text

    def check(self) -> None:
        """Raises if it has ended with a code other than 0."""
        self._words.take()
        if self._process.poll():
            raise self._failure(f"ended with code {self._process.returncode}")

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self._process.returncode is not None

    def hasten(self, patience_s: float) -> None:
        """End the lease, and tell it to end (SIGTERM) if it has not within `patience_s`."""
        self._end_lease()
        if not self.wait(patience_s):
            self._process.terminate()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """End the lease and wait for the end; SIGKILL after `timeout_s`. Twice is harmless."""
        self._end_lease()
        if not self.wait(timeout_s):
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._words.close()

    def _end_lease(self) -> None:
        if self._lease >= 0:
            os.close(self._lease)
            self._lease = -1

    def _failure(self, what: str) -> CircuitRunError:
        words = self.words()
        if self._process.returncode == FULL and words:
            return DiskFull(words)
        return self._failed(f"the {self._name} {what}" + (f":\n{words}" if words else " and said nothing"))


class Broker(LeasedProcess):
    """The broker of one run."""

    def __init__(
        self,
        listen: str,
        run: str,
        folder: Path,
        *,
        durable: bool = False,
        peers: int = 0,
        further: Sequence[str] = (),
        keys: Path | Sequence[Path] | None = None,
    ) -> None:
        """Start it on the endpoints `listen` and `further`; it comes up while the runner goes on. `peers` is how many
        connections it has to hold, `keys` its keyring, or are its keyrings. Raises BrokerFailed, as everything here."""
        argv = [*circuit_run.PROCESS, "broker.__main__", "--folder", str(folder), "--run", run]
        argv += [word for endpoint in (listen, *further) for word in ("--listen", endpoint)]
        argv += ["--durable"] if durable else []
        argv += ["--expect-peers", str(peers)] if peers else []
        keyrings = [keys] if isinstance(keys, Path) else keys or ()
        argv += [word for keyring in keyrings for word in ("--keys", str(keyring))]
        super().__init__("broker", argv, environment.apart(os.environ), folder, BrokerFailed)
        self._again = partial(Broker, run=run, folder=folder, durable=durable, peers=peers, keys=keys)
        self._wanted = (listen, *further)
        self._endpoints: list[str] = []
        self._started_s = monotonic()

    def endpoint(self, number: int = 0, timeout_s: float = READY_S) -> str:
        """Where it listens, as soon as it does; `number` counts the endpoints that it was given, from 0."""
        while len(self._endpoints) <= number:
            self._endpoints.append(self.said(b"listening on ", timeout_s))
        return self._endpoints[number]

    def check(self) -> None:
        """Raises if it has given up with a message, or does not listen though it should by now. Never waits."""
        self._words.take()
        if (self.code or 0) > 0:
            super().check()
        if len(self._endpoints) == len(self._wanted):
            return
        # its end is reported next time
        with selectors.DefaultSelector() as selector, contextlib.suppress(BrokerFailed):
            selector.register(self, selectors.EVENT_READ)
            while len(self._endpoints) < len(self._wanted) and (b"\n" in self._heard or selector.select(0)):
                self.endpoint(len(self._endpoints))
        if len(self._endpoints) < len(self._wanted) and monotonic() - self._started_s > REBUILD_S:
            raise self._failure(f"was started and does not listen after {REBUILD_S:g} s")

    def again(self) -> "Broker":
        """Another one in the place of this one, which has ended: on the same addresses, with the same log."""
        self.close()
        first, *further = (*self._endpoints, *self._wanted[len(self._endpoints) :])
        return self._again(first, further=further)


class Supervisor(LeasedProcess):
    """The supervisor of this host. It says `serving` on the bus when it takes orders."""

    def __init__(self, context: RunContext, first: Sequence[Start] = ()) -> None:
        """Start it; it comes up while the runner goes on, and starts the units in `first` (see `Launcher.first`) before
        it can be spoken to. Raises SupervisorFailed, as everything here."""
        self._context = context
        private.ensure(context.journals)
        env = {**environment.apart(os.environ), **context.for_supervisor()}
        argv = (*circuit_run.PROCESS, "runner.adapters.supervisor.supervisor")
        given = json.dumps([dataclasses.asdict(start) for start in first])
        super().__init__("supervisor", argv, env, context.folder, SupervisorFailed, given)

    def leftovers(self, timeout_s: float = CLOSE_S) -> list[int]:
        """Processes of the run that live though the supervisor has ended; waits `timeout_s` for that end."""
        self.wait(timeout_s)
        return process_tree.strays(self._context.run, str(self._context.journals))

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """End the lease, which ends every unit, and wait; if it was killed, end what it could not end any more."""
        super().close(timeout_s)
        if self._process.returncode != 0:
            deadline_s = monotonic() + timeout_s
            while (left := self.leftovers()) and monotonic() < deadline_s:
                process_tree.signal_all(left, signal.SIGKILL)
                time.sleep(STEP_S)


@contextlib.contextmanager
def private_endpoint() -> Iterator[str]:
    """An ipc endpoint that only this user can reach, in a folder that is there before its name is given to any process;
    the folder is removed at the end. Where this process is killed, its broker removes it; were both killed, the next
    run does. Raises BrokerFailed if there is no place for it."""
    name = private.name(_PRIVATE)
    with contextlib.ExitStack() as stack:
        try:
            base = private.base(longest=MAX_IPC_BYTES - len(f"/{name}/bus"))
            for old in base.glob(f"{_PRIVATE}*"):
                endpoints.clear(old)
            stack.enter_context(endpoints.held(base / name, new=True))
        except (FolderError, BrokerError) as error:
            raise BrokerFailed(str(error)) from None
        yield f"ipc://{base / name}/bus"
