"""What a Python unit is started as: `python -P -m runner.launch.bootstrap module:function FOLDER`.

Waits at the start gate, imports the entrypoint, calls it, and turns its end into an exit code. Belongs here: what is
between the interpreter and the user's code. Must stay light, because every unit pays for it.

SIGTERM becomes SystemExit(143) in the main thread, so that `finally` blocks and `atexit` run.
"""

import os
import signal
import sys
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
    mine = os.getpid()

    def terminate(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() == mine:
            raise SystemExit(TERMINATED)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked child ends as any process does
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, terminate)


if __name__ == "__main__":
    main(sys.argv[1:])
