"""An actor that is a thread of this process.

Belongs here: holding that thread. Must not know which order is prescribed.
"""

import threading

from runner.adapters.actors import asleep
from runner.adapters.actors.gate import ACTOR
from runner.adapters.actors.starter import Starter


class ThreadStarter(Starter):
    """Runs its target in a thread. Threads that the target starts are not held."""

    _thread: threading.Thread
    _latch: threading.Lock

    def _begin(self) -> None:
        self._latch = threading.Lock()
        self._latch.acquire()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        ACTOR.set(self)
        try:
            self.result = self._target(*self._args, **self._kwargs)
        except BaseException as error:  # it is raised for the caller by the conductor
            self.error = error
        self._end()

    def hold(self, step: str) -> None:
        """In the thread itself: wait at `step` until released."""
        if self._passes(step):
            return
        self._arrive(step)
        self._latch.acquire()

    async def hold_async(self, step: str) -> None:
        """A loop that runs in this thread is held, too."""
        self.hold(step)

    def _release(self) -> None:
        self._latch.release()

    def doing(self) -> list[str]:
        return asleep.stack(self._thread) if self.has_begun and not self.has_ended else []

    def waits_for_a_lock(self) -> bool:
        return asleep.waits_for_a_lock(f"/proc/self/task/{self._thread.native_id}")

    def join(self, timeout_s: float) -> bool:
        if self.has_begun:
            self._thread.join(timeout_s)
        return not self.has_begun or not self._thread.is_alive()
