"""The command `circuit-run`, from its very first moment: a Ctrl-C ends it with its exit code while it is still loading.

Belongs here: nothing else, and no import that takes time. What the command does is the business of `cli`.
"""

import os
import signal

from circuit_run import claim

_INTERRUPTED = 2
"""`ExitCode.INTERRUPTED`, which is not loaded yet."""


def main() -> None:
    """Load the command line and run it. Never returns."""
    claim()
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from runner import cli

    signal.signal(signal.SIGINT, before)
    cli.main()


if __name__ == "__main__":
    main()
