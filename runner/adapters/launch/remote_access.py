"""How other hosts reach the broker of a run: addresses on TCP, and a keyring of its own.

Belongs here: making the keyring and removing it, and saying what is needed there. Must not know how a broker is
started.
"""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker import endpoints, keyring
from broker.errors import BrokerError
from probe import environment
from runner.adapters.openssh import seen_from
from runner.model.errors import UsageError
from runner.model.orders import host_of, supervisor_of


def check(listen: str) -> None:
    """Raises UsageError if `listen` is no address that units elsewhere can reach."""
    try:
        endpoint = endpoints.parse(listen)
    except BrokerError as error:
        raise UsageError(f"--listen {error}") from None
    if endpoint.transport != "tcp":
        raise UsageError(f"--listen {listen}: units elsewhere come over TCP; expected tcp://HOST:PORT")


class RemoteAccess:
    """The access of one run, from its making to the end of `with`. `folder` is the run folder, `units` are the names of
    those who are to come, `agents` what may be spoken on each host whose supervisor the run starts (see `ownership`).
    `lasting` is a keyring whose keys are good here, too. Raises UsageError if it cannot be made."""

    def __init__(
        self,
        listen: Sequence[str],
        folder: Path,
        run: str,
        units: Sequence[str],
        agents: Mapping[str, Sequence[str]],
        lasting: Path | None = None,
    ) -> None:
        self.listen: Final = tuple(listen)
        """Where the broker is to listen."""
        self.keys: Final = folder / "keys"
        """Its keyring."""
        self.keyrings: Final = (self.keys,) if lasting is None else (self.keys, lasting)
        """All keyrings whose keys are good."""
        self._run = run
        try:
            self._files = keyring.for_run(self.keys, units, agents=agents, like=lasting)
        except BrokerError as error:
            raise UsageError(str(error)) from None

    def invitations(self, endpoint: str) -> list[str]:
        """For each unit, and for watchers, a line that says what is needed to join the broker that
        listens on `endpoint`."""
        broker = seen_from(endpoint, "")
        lines = []
        for unit, file in self._files.items():
            if host_of(unit) is not None and unit != keyring.WATCHER:
                continue  # the process that starts a supervisor gives it its keys
            if unit == keyring.WATCHER:
                words = ["circuit-run", "watch", broker, "--run", self._run, "--keys", str(file)]
                lines.append(f"to look on: {shlex.join(words)}")
                continue
            names = (environment.BROKER, environment.RUN, environment.UNIT, environment.KEYS)
            values = (broker, self._run, unit, str(file))
            pairs = " ".join(f"{name}={shlex.quote(value)}" for name, value in zip(names, values, strict=True))
            lines.append(f"{unit} joins with: {pairs}")
        return lines

    def keys_of(self, host: str) -> str:
        """The text of the file of keys for the supervisor of `host`."""
        return self._files[supervisor_of(host)].read_text(encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.keys, ignore_errors=True)
