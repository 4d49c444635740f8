"""The process that starts, watches and ends the units of one host: `python -P -m runner.launch.supervisor`.

Belongs here: how it comes up and goes; `watch` is what it does. Units that are to be started at once come on standard
input, and are started before anything is imported that they do not need: they come up while we do.

Nothing it started outlives it. It adopts orphans, so a daemon that left its group is found too; when its lease ends
(the runner is gone, however it went) it ends everything. When it is killed by SIGKILL itself, the kernel kills the
groups of its units (`kin.Tie`), and the runner's audit finds what had left them.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

from runner.launch import charge, kin
from runner.launch.charge import Charge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probe.message import Start
    from probe.recovery import Recovered

FLUSH_S: Final = 10.0
"""How long its own last words may take; the runner starts a broker again that was killed."""
DESERTED_FLUSH_S: Final = 0.5
"""The same when the runner is gone, and may be the broker with it."""


def main(lease_fd: int | None) -> None:
    """Serve the run that the environment names (see probe/environment.py). Ended by a signal it exits with code 1, so
    that the runner does not take what it did for the end of the run."""
    begun = start_first(sys.stdin.read())
    kin.adopt_orphans()

    from probe import environment, keys
    from probe.emitter import Unit
    from runner.launch.watch import Watch
    from runner.orders import SUPERVISOR

    told = environment.read()

    def recover(answer_s: "Callable[[], float]") -> "Sequence[Recovered]":
        from probe import recovery  # nobody needs it before the first unit has ended

        return recovery.recover(told.journal, told.broker, keys=keys.read(told.keys, told.broker), timeout_s=answer_s)

    voice = Unit(SUPERVISOR)
    watch = Watch(voice, recover, lease_fd, begun)
    voice.on_order = watch.order
    watch.serve()
    if lease_fd is not None and not watch.deserted:
        threading.Thread(target=leave_with_the_runner, args=(lease_fd,), daemon=True).start()
    voice.close(DESERTED_FLUSH_S if watch.deserted else FLUSH_S)
    watch.close()
    if watch.ended_by:
        sys.exit(f"somebody sent it {signal.Signals(watch.ended_by).name}, and it ended every unit")


def leave_with_the_runner(lease_fd: int) -> None:
    """What cannot be said soon after the lease is over stays in our journal."""
    while os.read(lease_fd, 64):
        pass
    time.sleep(DESERTED_FLUSH_S)
    os._exit(1)


def start_first(orders: str) -> list[Charge]:
    """Start what `orders` (a JSON list of the fields of Start) says. What does not start is left to the order that the
    runner gives again on the bus: then there is somebody to tell."""
    begun = []
    for fields in json.loads(orders or "[]"):
        with contextlib.suppress(charge.NotStarted):
            begun.append(charge.start(cast("Start", SimpleNamespace(**fields))))
    return begun


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--lease-fd") + 1]) if "--lease-fd" in sys.argv else None)
