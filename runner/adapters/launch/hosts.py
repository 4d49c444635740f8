"""The supervisors of a run on other hosts that are reached over ssh: started there, started again, let go.

Belongs here: the ssh processes, and what their ends mean. Everything else that is said to those supervisors goes over
the bus. Must not know units.
"""

import contextlib
import os
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probe import private
from probe.clock import monotonic
from runner.adapters import files
from runner.adapters.openssh import SSH
from runner.adapters.supervisor.config import SupervisorConfig
from runner.adapters.supervisor.supervisor import OCCUPIED, REFUSED
from runner.model.errors import UsageError
from runner.model.scenario.model import Host

LOST: Final = 255
"""Exit code of ssh when it could not connect, or lost its connection."""
NOT_FOUND: Final = (126, 127)
"""Exit codes of a shell that cannot start a command."""
AGAIN_S: Final = 2.0
"""How soon a host whose ssh ended is tried again."""
END_S: Final = 5.0
"""How long an ssh may take to end once its supervisor has said its last word."""
_WORDS: Final = 400


@dataclass(slots=True)
class _Reached:
    host: Host
    process: "subprocess.Popen[bytes]"
    err_offset: int
    again_s: float | None = None
    """When to start it again, on the monotonic clock."""


class Hosts:
    """Those of `hosts` that are reached over ssh. `config` makes what a host's supervisor gets; `folder` is the run
    folder, where what they complain about is kept. Raises UsageError where there is no ssh."""

    def __init__(self, hosts: tuple[Host, ...], config: Callable[[Host], SupervisorConfig], folder: Path) -> None:
        self._configs = {host.name: config(host).text() for host in hosts if host.ssh is not None}
        """The line that each gets; the addresses stay when the broker is started again."""
        self._folder = folder / "hosts"
        self._heard: set[str] = set()
        self._reached: dict[str, _Reached] = {}
        for host in hosts:
            if host.ssh is not None:
                private.ensure(self._folder)
                try:
                    self._reached[host.name] = self._start(host)
                except OSError as error:
                    self.close()
                    raise UsageError(
                        f"host {host.name} is reached over ssh, which cannot be started here: {error.strerror}; "
                        "install the OpenSSH client"
                    ) from None

    def heard(self, host: str) -> None:
        """Its supervisor has been heard on the bus."""
        self._heard.add(host)

    def look(self, expected: Collection[str]) -> list[tuple[str, str, bool]]:
        """(host, what is wrong with it, whether it will not come by itself) for each whose ssh has ended since the last
        call. Those in `expected` are started again if that can be of use. Never waits."""
        found = []
        now_s = monotonic()
        for name, reached in list(self._reached.items()):
            if name not in expected:
                continue
            if reached.again_s is not None and now_s >= reached.again_s:
                self._reached[name] = self._start(reached.host)
            elif reached.again_s is None and (code := reached.process.poll()) is not None:
                was_here = name in self._heard
                reached.again_s = now_s + AGAIN_S if was_here else float("inf")
                if code != OCCUPIED and not (was_here and code == LOST):  # else the bus tells whether it is there
                    found.append((name, self._why(reached, code), not was_here))
        return found

    def close(self) -> None:
        """Let go of every ssh. Supervisors that have not said their last word have a lease."""
        deadline_s = monotonic() + END_S
        for name, reached in self._reached.items():
            if name in self._heard:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    reached.process.wait(max(0.0, deadline_s - monotonic()))
            if reached.process.poll() is None:
                reached.process.terminate()
        for reached in self._reached.values():
            try:
                reached.process.wait(1.0)
            except subprocess.TimeoutExpired:
                reached.process.kill()
                reached.process.wait()

    def _start(self, host: Host) -> _Reached:
        assert host.ssh is not None
        with open(self._folder / f"{host.name}.err", "ab", opener=files.opener) as err:
            offset = err.tell()
            process = subprocess.Popen(
                [*SSH, host.ssh, f"exec {host.python} -P -m runner.launch.supervisor --charter"],
                stdin=subprocess.PIPE,
                stdout=err,
                stderr=err,
                start_new_session=True,  # Ctrl-C is for the runner, which ends the others in order
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(self._configs[host.name].encode())
        return _Reached(host, process, offset)

    def _why(self, reached: _Reached, code: int) -> str:
        host, words = reached.host, self._words(reached)
        if code == LOST:
            return (
                f"cannot be reached by ssh {host.ssh}: {words or 'it does not say why'}; circuit-run doctor {host.ssh}"
            )
        if code == REFUSED:
            return f"{self._words(reached, 1)}; a key for who runs scenarios: circuit-run keys new NAME --runner"
        if code in NOT_FOUND:
            return f"has no Python at {host.python!r} ({words}); name it: hosts.{host.name}.python"
        if "No module named" in words:
            return (
                f"has no circuit-run for {host.python!r} ({words}); install it there, or name the Python that has it: "
                f"hosts.{host.name}.python"
            )
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"has lost its supervisor, which {how}" + (f": {words}" if words else "")

    def _words(self, reached: _Reached, lines_of_it: int = 2) -> str:
        """The last lines that were said on standard error, on one line."""
        with contextlib.suppress(OSError), (self._folder / f"{reached.host.name}.err").open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(reached.err_offset, file.tell() - 4 * _WORDS))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            words = " ".join(lines[-lines_of_it:])
            return words if len(words) <= _WORDS else f"…{words[1 - _WORDS :]}"
        return ""
