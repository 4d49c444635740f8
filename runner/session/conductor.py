"""The conductor: actors of a test in a prescribed order of checkpoints, with everything held in between.

Belongs here: which actor goes on, and the error for an order that cannot happen. Must not know how an actor is held
(`adapters/actors`).
"""

import queue
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self, TypeAlias

from probe import gate
from probe.clock import monotonic
from runner.adapters.actors.gate import ActorGate
from runner.adapters.actors.starter import Arrived, Ended, Reports, Starter
from runner.adapters.actors.tasks import Loop, TaskStarter
from runner.core.lockstep.prescription import Arrival, Checkpoint, Prescription
from runner.core.report.quantity import plural
from runner.model.errors import OrderError, UsageError
from runner.model.scenario.hints import did_you_mean

Step: TypeAlias = Checkpoint | str
"""A checkpoint, or its name as in "actor: step"."""

LOOK_S: Final = 0.05
"""How often an actor that does not come is looked at, in seconds."""
LOOKS: Final = 6
"""An actor that is seen so often in succession to wait for a lock will not come."""
END_S: Final = 5.0
"""How long actors that are held nowhere any more may take to end."""


class Conductor:
    """Use it as a context manager. It begins an actor when the order needs it, lets one go on at a time, and gives back
    each checkpoint of the order with everything held, so that a test can look at any state:

        first, second = ThreadStarter(withdraw, 10), ThreadStarter(withdraw, 20)
        order = [first.checkpoint("read"), second.checkpoint("read"), second.checkpoint("written")]
        with Conductor([first, second], order) as conductor:
            for checkpoint in conductor:
                ...

    `order`: checkpoints, or their names "actor: step"; a list in it is a group that may come in any order. Checkpoints
    that it does not name hold no actor. `timeout_s`: how long the next one may take.

    When the block is left nothing is held any more. Actors that have begun come to their end first, and the first
    error that one of them raised is raised, unless the block raised one of its own.
    """

    def __init__(
        self, actors: Sequence[Starter], order: Sequence[Step | Sequence[Step]], *, timeout_s: float = 10.0
    ) -> None:
        """Raises UsageError for a name that two actors have, and for an order that names an actor that is not there."""
        names = [actor.name for actor in actors]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two actors are called {twice}; give them names: name=...")
        self._actors = {actor.name: actor for actor in actors}
        self._prescription = Prescription([self._group(step, names) for step in order])
        self._given = {checkpoint: checkpoint for checkpoint in self._prescription.checkpoints}
        """Each as the caller has it, so that the caller can compare them with `is`."""
        self._timeout_s = timeout_s
        self._queue: Reports = queue.SimpleQueue()
        self._loop: Loop | None = None
        self._stack = ExitStack()
        self._raised: set[str] = set()
        """Actors whose error has been raised."""
        for actor in actors:
            held = {step for group in order for step in self._steps_of(actor.name, group)}
            actor.attend(self._queue, frozenset(held))

    def __enter__(self) -> Self:
        """Raises ProbeError if another conductor holds the checkpoints of this process."""
        with self._stack as stack:
            gate.arm(ActorGate())
            stack.callback(gate.arm, None)
            for actor in self._actors.values():
                for wrapped in actor.wrapped:
                    wrapped.install()
                    stack.callback(wrapped.remove)
            tasks = [actor for actor in self._actors.values() if isinstance(actor, TaskStarter)]
            if tasks:
                self._loop = Loop()
            for task in tasks:
                assert self._loop is not None
                task.loop = self._loop
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            left = self._free()
            if self._loop is not None and not self._loop.close(END_S):
                left = left or ["the loop of the tasks"]
        if error is None:
            if left:
                raise OrderError(f"{', '.join(left)}: held nowhere any more, and still runs after {END_S:g} s")
            self._raise_errors()

    def __iter__(self) -> Iterator[Checkpoint]:
        return self

    def __next__(self) -> Checkpoint:
        """Let actors go on until the next checkpoint of the order is reached. Raises OrderError if it cannot be."""
        if not self._prescription.due:
            raise StopIteration
        for checkpoint in self._prescription.due:
            actor = self._actors[checkpoint.actor]
            actor.go()
            reached = self._until_due(last_of_group=checkpoint == self._prescription.due[-1])
            if reached is not None:
                return reached
        raise AssertionError("the last of a group is reached, or an OrderError is raised")

    def run_to(self, step: Step) -> Checkpoint:
        """Go on to `step` and skip what the order names before it. Raises OrderError if it is not to come."""
        wanted = self._checkpoint(step, list(self._actors))
        if not self._prescription.names(wanted):
            raise OrderError(f'"{wanted}" is not to come any more')
        for checkpoint in self:
            if checkpoint == wanted:
                break
        return wanted

    def run_to_end(self) -> None:
        """Hold no actor any more and wait for every actor that has begun; then begin the others, one after the other.
        Raises what the first actor raised, OrderError if one does not end."""
        self._prescription.drop()
        if left := self._free():
            raise OrderError(f"{', '.join(left)}: held nowhere any more, and still runs after {END_S:g} s")
        for actor in self._actors.values():
            if not actor.has_begun:
                actor.go()
                if not self._ends(actor, self._timeout_s):
                    raise OrderError(self._with_progress(f"{actor.name} did not end within {self._timeout_s:g} s"))
        self._raise_errors()

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _until_due(self, *, last_of_group: bool) -> Checkpoint | None:
        """Wait until something is reached that is due. None: each actor that runs waits for a lock, and another one
        of the group may release it."""
        deadline_s = monotonic() + self._timeout_s
        looks = 0
        while True:
            try:
                report = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                running = [one for one in self._actors.values() if one.has_begun and not one.has_ended and not one.held]
                looks = looks + 1 if running and all(one.waits_for_a_lock() for one in running) else 0
                if looks >= LOOKS:
                    if not last_of_group:
                        return None
                    raise OrderError(self._with_progress("the order cannot happen")) from None
                if monotonic() > deadline_s:
                    why = f"no checkpoint was reached within {self._timeout_s:g} s"
                    raise OrderError(self._with_progress(why)) from None
                continue
            if isinstance(report, Ended):
                self._see_end(report.actor)
            elif (reached := self._see_arrival(report)) is not None:
                return reached

    def _see_arrival(self, report: Arrived) -> Checkpoint | None:
        here = Checkpoint(report.actor.name, report.step)
        match self._prescription.arrived(here):
            case Arrival.DUE:
                return self._given[here]
            case Arrival.FREE:
                report.actor.go()
            case Arrival.EARLY if any(due.actor == here.actor for due in self._prescription.due):
                why = f'the order cannot happen: {here.actor} has come to "{here.step}", which is due later'
                raise OrderError(self._with_progress(why))
            case Arrival.EARLY:
                pass  # held until it is due
        return None

    def _see_end(self, actor: Starter) -> None:
        due = next((one for one in self._prescription.due if one.actor == actor.name), None)
        if due is not None:
            how = f"raised {actor.error!r}" if actor.error is not None else "came to its end"
            known = sorted(actor.seen)
            hint = did_you_mean(due.step, known) or (f"; it came by {', '.join(known)}" if known else "")
            why = f'the order cannot happen: {actor.name} {how} without coming to "{due.step}"{hint}'
            raise OrderError(self._with_progress(why)) from actor.error

    def _ends(self, actor: Starter, timeout_s: float) -> bool:
        deadline_s = monotonic() + timeout_s
        while not actor.has_ended and monotonic() < deadline_s:
            try:
                report = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            if isinstance(report, Arrived):
                report.actor.go()
        return actor.has_ended

    def _free(self) -> list[str]:
        """Hold no actor any more and wait for those that have begun. Returns those that have not ended by then."""
        for actor in self._actors.values():
            actor.free()
        begun = [actor for actor in self._actors.values() if actor.has_begun]
        left = [actor.name for actor in begun if not self._ends(actor, END_S)]
        return [*left, *(actor.name for actor in begun if actor.name not in left and not actor.join(END_S))]

    def _raise_errors(self) -> None:
        for actor in self._actors.values():
            if actor.error is not None and actor.name not in self._raised:
                self._raised.add(actor.name)
                raise actor.error

    # --- words --------------------------------------------------------------------------------------------------------

    def _with_progress(self, why: str) -> str:
        """Why, how far the order has come, and what each actor does."""
        prescription = self._prescription
        due = " or ".join(f'"{checkpoint}"' for checkpoint in prescription.due)
        lines = [why]
        if due:
            passed = plural(len(prescription.passed), "checkpoint")
            lines.append(f"  due is {due}, after {passed} of {prescription.length}")
        for actor in self._actors.values():
            if not actor.has_begun:
                lines.append(f"  {actor.name} has not begun")
            elif actor.has_ended:
                lines.append(f"  {actor.name} has ended")
            elif actor.held is not None:
                also = ", by a synchronous checkpoint: its event loop stands still (await probe.checkpoint_async there)"
                loop = also if isinstance(actor, TaskStarter) and actor.holds_loop else ""
                lines.append(f'  {actor.name} is held at "{actor.held}"{loop}')
            else:
                lines.append(f"  {actor.name} {'waits for a lock' if actor.waits_for_a_lock() else 'runs'}")
                lines += [f"    {line}" for line in actor.doing()]
        return "\n".join(lines)

    def _group(self, step: Step | Sequence[Step], names: Sequence[str]) -> list[Checkpoint]:
        members = [step] if isinstance(step, str | Checkpoint) else step
        return [self._checkpoint(member, names) for member in members]

    def _steps_of(self, name: str, step: Step | Sequence[Step]) -> Iterator[str]:
        return (one.step for one in self._group(step, list(self._actors)) if one.actor == name)

    @staticmethod
    def _checkpoint(step: Step, names: Sequence[str]) -> Checkpoint:
        if isinstance(step, str):
            actor, colon, name = step.partition(": ")
            if not colon:
                raise UsageError(f'{step!r} is no checkpoint; expected "actor: step"')
            step = Checkpoint(actor, name)
        if step.actor not in names:
            raise UsageError(f'"{step}": there is no actor {step.actor}{did_you_mean(step.actor, names)}')
        return step
