"""What a Python unit is started as: `circuit_run runner.adapters.usercode.bootstrap module:function FOLDER`.

Waits at the start gate, imports the entrypoint, calls it, and turns its end into an exit code. Belongs here: what is
between the interpreter and the user's code. Must stay light, because every unit pays for it.

Signals mean what they mean to `python module.py`: nothing here handles any. What the unit had emitted when one ended it
is in its journal, and its supervisor publishes that.
"""

import sys
from typing import NoReturn

from probe.barrier import await_start
from probe.errors import BarrierBroken
from probe.units import default
from runner.adapters.usercode import entry


def main(argv: list[str]) -> NoReturn:
    """Run the entrypoint `argv[0]` with the folder `argv[1]` on the import path; leaves by SystemExit."""
    entrypoint, folder = argv
    try:
        await_start(default)
    except BarrierBroken as broken:
        sys.exit(f"was not let begin: {broken.why}")
    default.state("begun")
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
