"""An actor that is a forked process.

Belongs here: holding that process, over a pipe. Must not know which order is prescribed.
"""

import contextlib
import multiprocessing
import pickle
import threading
from multiprocessing.connection import Connection
from typing import Any

from probe import gate
from runner.adapters.actors import asleep
from runner.adapters.actors.starter import Starter

_FORK = multiprocessing.get_context("fork")


class ProcessStarter(Starter):
    """Runs its target in a process that is forked from this one, so that it has all that is here, and changes none of
    it. `result` and `error` come back pickled. Every thread of it is held."""

    _process: Any
    _pipe: Connection
    _reader: threading.Thread

    def _begin(self) -> None:
        self._pipe, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=self._run, args=(theirs,), name=self.name, daemon=True)
        self._process.start()
        theirs.close()
        self._reader = threading.Thread(target=self._read, name=f"pipe of {self.name}", daemon=True)
        self._reader.start()

    def _run(self, pipe: Connection) -> None:
        """In the process."""
        self._pipe.close()
        gate.arm(None)
        gate.arm(_PipeGate(pipe, frozenset(self._steps)))
        try:
            said: tuple[str, Any] = "result", self._target(*self._args, **self._kwargs)
        except BaseException as error:  # it is raised for the caller by the conductor
            said = "error", error
        try:
            pipe.send(said)
        except Exception as error:  # it cannot be pickled
            pipe.send(("error", TypeError(f"{said[0]} {said[1]!r} does not pass from process to process: {error}")))

    def _read(self) -> None:
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                what, value = self._pipe.recv()
                if what == "at":
                    self._arrive(value)
                elif what == "result":
                    self.result = value
                    break
                else:
                    self.error = value
                    break
        self._process.join()
        if self._process.exitcode and self.error is None:
            self.error = RuntimeError(f"process {self.name} ended with code {self._process.exitcode}")
        self._end()

    def _release(self) -> None:
        with contextlib.suppress(OSError):  # it has been killed
            self._pipe.send("go")

    def _free(self) -> None:
        self.held = None
        with contextlib.suppress(OSError):
            self._pipe.send("free")

    def doing(self) -> list[str]:
        return []

    def waits_for_a_lock(self) -> bool:
        return asleep.waits_for_a_lock(f"/proc/{self._process.pid}")

    def join(self, timeout_s: float) -> bool:
        if not self.has_begun:
            return True
        self._reader.join(timeout_s)
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join(timeout_s)
            return False
        self._pipe.close()
        return True


class _PipeGate:
    """See `probe.gate.Gate`; in the forked process."""

    def __init__(self, pipe: Connection, steps: frozenset[str]) -> None:
        self._pipe = pipe
        self._steps = steps
        self._lock = threading.Lock()
        self._is_free = False

    def hold(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        del writes, reads
        if self._is_free or step not in self._steps:
            return
        with self._lock:
            if not self._is_free:
                try:
                    self._pipe.send(("at", step))
                    self._is_free = self._pipe.recv() == "free"
                except (OSError, EOFError):  # the conductor's process is gone
                    self._is_free = True

    async def hold_async(self, step: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> None:
        self.hold(step, writes, reads)
