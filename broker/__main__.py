"""`python -m broker --listen ENDPOINT --folder DIR [--run ID] [--lease-fd N]`: one broker, until it is told to stop.

Prints one line, `listening on <endpoint>`, when peers may connect. What keeps it from starting is one line on standard
error and exit code 4.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from broker.errors import BrokerError
from broker.service import serve

USAGE: Final = "usage: python -m broker --listen ENDPOINT --folder DIR [--run ID] [--lease-fd N]"
OPTIONS: Final = ("--listen", "--folder", "--run", "--lease-fd")
REFUSED: Final = 4
FAILED: Final = 3


def main(arguments: Sequence[str]) -> int:
    """Serve as `arguments` say; gives the exit code."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    lease_fd = given.get("--lease-fd", "0")
    if len(arguments) % 2 or not {"--listen", "--folder"} <= given.keys() <= set(OPTIONS) or not lease_fd.isdigit():
        sys.stderr.write(f"{USAGE}\n")
        return REFUSED
    listening = False

    def announce(endpoint: str) -> None:
        nonlocal listening
        listening = True
        sys.stdout.write(f"listening on {endpoint}\n")
        sys.stdout.flush()

    try:
        serve(
            given["--listen"],
            Path(given["--folder"]),
            run=given.get("--run"),
            lease_fd=int(lease_fd) or None,
            announce=announce,
        )
    except BrokerError as error:
        sys.stderr.write(f"broker: {error}\n")
        return FAILED if listening else REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
