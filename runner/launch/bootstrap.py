"""What a Python unit is started as: `python -P -m runner.launch.bootstrap module:function FOLDER`.

Waits at the start gate, imports the entrypoint, calls it, and turns its end into an exit code. Belongs here: what is
between the interpreter and the user's code. Must stay light, because every unit pays for it.

SIGTERM becomes SystemExit(143) in the main thread, so that `finally` blocks and `atexit` run. While the last events are
sent it is ignored: that takes two seconds at most, and is what SIGTERM is to lead to.
"""

import atexit
import os
import signal
import sys
from threading import get_ident
from types import FrameType
from typing import Final, NoReturn

from probe.barrier import await_start
from probe.emitter import default
from probe.errors import BarrierBroken
from runner.launch import entry

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code of a unit that was told to stop."""


def main(argv: list[str]) -> NoReturn:
    """Run the entrypoint `argv[0]` with the folder `argv[1]` on the import path; leaves by SystemExit."""
    entrypoint, folder = argv
    _answer_sigterm()
    try:
        await_start(default)
    except BarrierBroken as broken:
        sys.exit(f"was not let begin: {broken.why}")
    default.state("begun")
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)  # behind what the user registers
    entry.make_room(folder)
    try:
        function = entry.find(entrypoint)
        default.state("imported")
        entry.call(function)
    except entry.Misnamed as error:
        sys.exit(str(error))
    except Exception as error:
        default.error(error)
        sys.stderr.write(entry.traceback_of(error))
        sys.exit(1)
    sys.exit(0)


def _answer_sigterm() -> None:
    """SIGTERM is SystemExit here, and in forked children what it is in any process.

    A child forgets signals that reach it in the middle of the fork, if they have a handler; so they have to wait.
    """
    masks: dict[int, set[int]] = {}

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    def hold() -> None:
        masks[get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def let_go() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(get_ident(), ()))

    def be_any_process() -> None:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        let_go()

    signal.signal(signal.SIGTERM, terminate)
    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=be_any_process)


if __name__ == "__main__":
    main(sys.argv[1:])
