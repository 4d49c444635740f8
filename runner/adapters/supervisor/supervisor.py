"""The process that starts, watches and ends the units of one host: `circuit_run runner.adapters.supervisor.supervisor`.

Belongs here: how it comes up and goes; `loop` is what it does. Beside the runner (`--lease-fd`) units that are to be
started at once come on standard input, and are started before anything is imported that they do not need: they come up
while we do. On another host (`--config`) what comes there is the line of `config`.

Nothing it started outlives it. It adopts orphans, so a daemon that left its group is found too; when its lease ends
(the runner is gone, however it went) it ends everything. When it is killed by SIGKILL itself, the kernel kills the
groups of its units (`process_tree.KillOnExit`), and the runner's audit finds what had left them.
"""

import contextlib
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

from runner.adapters import process_tree
from runner.adapters.supervisor import unit_process
from runner.adapters.supervisor.unit_process import UnitProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probe.marks import Marks
    from probe.message import Start
    from probe.recovery import Recovered

NO_MEMORY: Final = b"the supervisor has no memory left\n"
FLUSH_S: Final = 10.0
"""How long its own last words may take; the runner starts a broker again that was killed."""
NO_RUNNER_FLUSH_S: Final = 0.5
"""The same when the runner is gone, and may be the broker with it."""
HELD_S: Final = 10.0
"""How long an agent may take to publish what an earlier supervisor of the run has left."""
OCCUPIED: Final = 75
"""Exit code when another supervisor of that run lives on that host."""
REFUSED: Final = 77
"""Exit code when the broker will not hear of it; the last line on standard error says why."""


def main(argv: "Sequence[str]") -> None:
    """Serve as `argv` says: `--config`, or `--lease-fd N`, or nothing."""
    try:
        if "--charter" in argv:
            main_remote(sys.stdin.readline())
        else:
            main_local(int(argv[argv.index("--lease-fd") + 1]) if "--lease-fd" in argv else None)
    except Exception as error:
        give_up(error)
        raise


def give_up(error: Exception) -> None:
    """Memory, threads or files are used up: say so, and end at once, without asking for more of it. The kernel ends the
    units with this process. Returns if `error` says something else."""
    words = NO_MEMORY
    with contextlib.suppress(MemoryError):
        from probe import shortage
        from runner.adapters.supervisor.loop import Speechless

        why = str(error) if isinstance(error, Speechless) else shortage.why(error)
        if not why:
            return
        words = f"the supervisor {why}\n".encode()
    with contextlib.suppress(OSError):
        os.write(2, words)
    os._exit(1)


def main_local(lease_fd: int | None) -> None:
    """Serve the run that the environment names (see probe/environment.py). Ended by a signal it exits with code 1, so
    that the runner does not take what it did for the end of the run."""
    marks_fd = unit_process.open_marks(os.environ["CIRCUIT_JOURNAL"])
    begun = start_first(sys.stdin.read(), marks_fd)
    process_tree.adopt_orphans()

    from probe import environment
    from probe.marks import Marks
    from probe.units import Unit
    from runner.adapters.supervisor.journals import Journals
    from runner.adapters.supervisor.loop import SupervisorLoop
    from runner.model.orders import SUPERVISOR

    folder = Path(environment.read().journal)
    marks = Marks.of_fd(marks_fd)
    reporter = Unit(SUPERVISOR)
    loop = SupervisorLoop(
        reporter, partial(recover, marks), lease_fd, begun, journals=Journals(folder, marks), give_up=give_up
    )
    reporter.on_order = loop.order
    loop.serve()
    if lease_fd is not None and not loop.runner_gone:
        from probe.native import start_new_thread

        with contextlib.suppress(RuntimeError, MemoryError):  # else its patience ends it
            start_new_thread(leave_with_the_runner, (lease_fd,))
    reporter.close(NO_RUNNER_FLUSH_S if loop.runner_gone else FLUSH_S)
    loop.close()
    remove(marks, folder)
    if loop.ended_by:
        sys.exit(f"it got {signal.Signals(loop.ended_by).name}, and ended every unit")


def main_remote(line: str) -> None:
    """Serve the run that the config `line` names, on another host than the runner's. A supervisor that was killed here
    has left evidence: that is published before anything else is said."""
    from probe.errors import KeysError
    from probe.marks import Marks
    from probe.units import Unit
    from runner.adapters.say import complain
    from runner.adapters.supervisor.config import SupervisorConfig
    from runner.adapters.supervisor.journals import Journals
    from runner.adapters.supervisor.lease import Lease
    from runner.adapters.supervisor.loop import RemoteServices, SupervisorLoop
    from runner.adapters.supervisor.output_forwarder import OutputForwarder
    from runner.adapters.supervisor.work_dir import Occupied, WorkDir
    from runner.model.orders import supervisor_of

    config = SupervisorConfig.parse(line)
    try:
        work_dir = WorkDir(config.broker, config.run, config.host, config.keys, HELD_S)
    except Occupied as error:
        complain(str(error))
        sys.exit(OCCUPIED)
    except (OSError, KeysError) as error:
        complain(f"run {config.run} cannot be served there: {getattr(error, 'strerror', None) or error}")
        sys.exit(1)
    process_tree.adopt_orphans()
    os.environ.update(work_dir.variables())
    lease = Lease(config.lease_s)
    marks = Marks.of_fd(unit_process.open_marks(str(work_dir.context.journals)))
    recover(marks, lambda: min(FLUSH_S, lease.left_s))
    reporter = Unit(supervisor_of(config.host), on_pong=lease.heard, units_key=work_dir.units_key)
    remote = RemoteServices(work_dir, lease, OutputForwarder(reporter), lambda: reporter.refused)
    journals = Journals(work_dir.context.journals, marks)
    loop = SupervisorLoop(reporter, partial(recover, marks), None, remote=remote, journals=journals, give_up=give_up)
    reporter.on_order = loop.order
    loop.serve()
    reporter.close(NO_RUNNER_FLUSH_S if loop.runner_gone else FLUSH_S)
    loop.close()
    folder = work_dir.context.journals
    remove(marks, folder)
    left = work_dir.close(began=loop.began)
    if reporter.refused:
        complain(reporter.refused)
        sys.exit(REFUSED)
    if left:
        complain(
            f"run {config.run}: the evidence in {work_dir.root} is not published; an agent publishes it when it meets "
            f"that broker again, or: circuit-run recover --journals {folder} --broker {config.broker}"
        )


def remove(marks: "Marks | None", folder: Path) -> None:
    """There will be no more marks. The file stays if one could not be published."""
    if marks is not None and not any(marks.left()):
        with contextlib.suppress(OSError):
            (folder / unit_process.MARKS_FILE).unlink(missing_ok=True)


def recover(marks: "Marks | None", answer_s: "Callable[[], float]") -> "Sequence[Recovered]":
    """Publish what processes that are dead wrote down, and who of them could not."""
    from probe import environment, keys, recovery  # not needed before the first process has ended

    found = environment.read()
    its_keys = keys.read(found.keys, found.broker)
    return recovery.recover(found.journal, found.broker, keys=its_keys, marks=marks, timeout_s=answer_s)


def leave_with_the_runner(lease_fd: int) -> None:
    """What cannot be said soon after the lease is over stays in our journal."""
    while os.read(lease_fd, 64):
        pass
    time.sleep(NO_RUNNER_FLUSH_S)
    os._exit(1)


def start_first(orders: str, marks: int = -1) -> list[UnitProcess]:
    """Start what `orders` (a JSON list of the fields of Start) says. What does not start is left to the order that the
    runner gives again on the bus: then the failure can be reported."""
    begun = []
    for fields in json.loads(orders or "[]"):
        with contextlib.suppress(unit_process.NotStarted):
            begun.append(unit_process.start(cast("Start", SimpleNamespace(**fields)), marks))
    return begun
