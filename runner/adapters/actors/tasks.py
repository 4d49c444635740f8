"""An actor that is an asyncio task, in a loop of its conductor's.

Belongs here: holding that task, and the loop in a thread of its own that all tasks of a conductor share. Must not know
which order is prescribed.
"""

import asyncio
import threading
import traceback
from typing import Any

from runner.adapters.actors.gate import ACTOR
from runner.adapters.actors.starter import Starter


class Loop:
    """An event loop in a thread; it runs from the first task to `close`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="tasks of a conductor", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Stop it; whether that was possible: a task that blocks the loop keeps it."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        return True


class TaskStarter(Starter):
    """Awaits its target, a coroutine function, in a task. A synchronous checkpoint in it holds the whole loop."""

    loop: Loop
    _task: "asyncio.Task[None] | None" = None
    _event: asyncio.Event
    holds_loop = False
    """It is held by a synchronous checkpoint: no other task goes on."""
    _latch: threading.Lock

    def _begin(self) -> None:
        self._latch = threading.Lock()
        self._latch.acquire()
        self.loop.loop.call_soon_threadsafe(self._create)

    def _create(self) -> None:
        self._event = asyncio.Event()
        self._task = self.loop.loop.create_task(self._run(), name=self.name)

    async def _run(self) -> None:
        ACTOR.set(self)
        try:
            self.result = await self._target(*self._args, **self._kwargs)
        except BaseException as error:  # it is raised for the caller by the conductor
            self.error = error
        self._end()

    def hold(self, step: str) -> None:
        """In the task: hold the loop that it runs in."""
        if self._passes(step):
            return
        self.holds_loop = True
        self._arrive(step)
        self._latch.acquire()
        self.holds_loop = False

    async def hold_async(self, step: str) -> None:
        """In the task: let others go on until released."""
        if self._passes(step):
            return
        self._event.clear()
        self._arrive(step)
        await self._event.wait()

    def _release(self) -> None:
        if self.holds_loop:
            self._latch.release()
        else:
            self.loop.loop.call_soon_threadsafe(self._event.set)

    def doing(self) -> list[str]:
        if self._task is None or self.has_ended:
            return []
        entries: Any = self._task.get_stack(limit=6)
        lines = [entry for frame in entries for entry in traceback.extract_stack(frame, limit=1)]
        return [f"{entry.filename}:{entry.lineno} in {entry.name}: {entry.line}" for entry in lines]

    def join(self, timeout_s: float) -> bool:
        del timeout_s  # its loop is closed next
        return not self.has_begun or self.has_ended
