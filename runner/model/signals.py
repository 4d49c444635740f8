"""How signals are called.

Belongs here: names. Handling one is the business of `runner/adapters/signals`.
"""

import signal


def signal_name(number: int) -> str:
    """ "SIGKILL" for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
