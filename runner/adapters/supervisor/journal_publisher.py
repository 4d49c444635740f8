"""Publishes the journals of processes that have ended, in a thread of its own: the broker may be slow to answer.

Belongs here: that thread, its queue, and when a journal that could not be published is tried again. Must not know how a
unit ends, nor what is reported of it.
"""

import collections
import contextlib
import math
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from probe.clock import monotonic
from probe.native import Latch, start_new_thread

if TYPE_CHECKING:
    from probe.recovery import Recovered
    from runner.adapters.supervisor.journals import Journals

BEGIN_S: Final = 5.0
"""A thread that has not begun after this time will not begin."""
ANSWER_S: Final = 15.0
"""How long the broker may be silent about a journal. The runner restarts a broker that was killed, several times if
necessary, and on a busy machine each restart takes some seconds."""
NO_RUNNER_ANSWER_S: Final = 1.0
"""The same when the runner is gone: then no process restarts a broker that was killed."""
RETRY_S: Final = 1.0
MOST_RETRY_S: Final = 30.0
"""When a journal that could not be published is tried again: the first delay, which doubles up to the second."""

Recover = Callable[[Callable[[], float]], "Sequence[Recovered]"]
"""Publishes what dead processes wrote down and did not send; asks how long, in seconds, the broker may be silent."""


class Published(NamedTuple):
    """What was published of a unit whose processes have all ended."""

    unit: str
    events: int
    problems: list[str]
    """Why a journal could not be published, in words."""


class JournalPublisher:
    """Publishes in turn, so that no unit is done while events of it are still being published. `wake` is called, from
    the thread, when there is news; `give_up` with the error that ends the thread."""

    def __init__(self, recover: Recover, wake: Callable[[], None], give_up: Callable[[Exception], None]) -> None:
        self.runner_gone = False
        """Set by the loop: no process restarts the broker any more."""
        self._recover = recover
        self._wake = wake
        self._give_up = give_up
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        """What is to be published, in turn; None: there will be no more."""
        self._begun, self._ended = Latch(), Latch()
        self._working = threading.Lock()
        """Held while journals are published: meanwhile it cannot be seen which ones were left behind."""
        self._published: collections.deque[Published] = collections.deque()
        self._counted: collections.Counter[str] = collections.Counter()
        """Unit -> events of its journals that were published and not yet reported."""
        self._look_s = 0.0
        """When to look next for journals that were left behind."""
        self._retry_s = RETRY_S
        self._broker_gone = False
        """The runner is gone, and the broker did not answer."""

    def start(self) -> None:
        """Start the thread now: later there may be no memory for one."""
        start_new_thread(self._run, ())  # not of `threading`, which waits for ever if that fails
        if not self._begun.wait(BEGIN_S):  # without memory it may end before it begins
            self._give_up(RuntimeError("can't start new thread"))

    def finish(self) -> None:
        """Publish what is in the queue, and end the thread."""
        self._tasks.put(None)
        self._ended.wait()

    def publish_unit(self, unit: str) -> None:
        """Publish what the processes of `unit` left behind; the last of them has ended."""
        self._tasks.put(partial(self._publish_unit, unit))

    def take(self) -> Iterator[Published]:
        """Each unit that is done since the last call."""
        while self._published:
            yield self._published.popleft()

    def look(self, journals: "Journals", living: Collection[int], now_s: float) -> None:
        """Publish journals that a process left behind whose unit lives; `living` are pids that certainly live."""
        if now_s < self._look_s or not self._working.acquire(blocking=False):
            return
        try:
            left = journals.abandoned(living)
        finally:
            self._working.release()
        if left:
            self._look_s = math.inf
            self._tasks.put(self._publish_left)

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._begun.open()
        try:
            while (task := self._tasks.get()) is not None:
                task()
        except Exception as error:
            self._give_up(error)
            raise
        finally:
            self._ended.open()

    def _publish_unit(self, unit: str) -> None:
        """A process may have emitted as several units, so this looks at all journals."""
        try:
            problems = [journal.problem for journal in self._publish_all() if journal.problem]
        except MemoryError:  # to report it would take more
            raise
        except Exception as error:  # whatever it was, the end of the unit must be reported
            problems = [f"journals were not read: {type(error).__name__}: {error}"]
        self._published.append(Published(unit, self._counted.pop(unit, 0), problems))
        self._wake()

    def _publish_left(self) -> None:
        """A journal that could not be published is tried again, at the latest when its unit has ended; so is one that
        only seems to be left, because its process has closed all its files."""
        done = False
        with contextlib.suppress(Exception):
            journals = self._publish_all()
            done = bool(journals) and not any(journal.problem for journal in journals)
        self._look_s = monotonic() + (0.0 if done else self._retry_s)
        self._retry_s = RETRY_S if done else min(2 * self._retry_s, MOST_RETRY_S)
        self._wake()

    def _publish_all(self) -> "Sequence[Recovered]":
        with self._working:
            journals = self._recover(self._answer_s)
            self._broker_gone = self.runner_gone and any(journal.unheard for journal in journals)
            for journal in journals:
                self._counted[journal.unit] += journal.events
        return journals

    def _answer_s(self) -> float:
        if self._broker_gone:
            return 0.0
        return NO_RUNNER_ANSWER_S if self.runner_gone else ANSWER_S
