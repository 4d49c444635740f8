"""One broker, until it is stopped:

    python -m broker --listen ENDPOINT [--listen ENDPOINT ...] --folder DIR [--lease-fd N]
                     [--keys DIR [--keys DIR ...] | --insecure] [--durable]
                     [--run ID | [--keep-for-s SECONDS] [--keep-bytes N]] [--expect-peers N]
                     [--quota NAME=N ...]

Prints one line, `listening on <endpoint>`, for each endpoint when peers may connect. What keeps it from starting is one
line on standard error and exit code 4; a disk without room, then or later, has exit code 5.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.errors import FULL, BrokerError, LogDiskFull, complain
from broker.quotas import parsed
from broker.service import serve
from probe import shortage
from probe.plain import clean

USAGE: Final = (
    "usage: python -m broker --listen ENDPOINT [--listen ENDPOINT ...] --folder DIR [--lease-fd N] "
    "[--keys DIR [--keys DIR ...] | --insecure] [--durable] [--run ID | [--keep-for-s SECONDS] [--keep-bytes N]] "
    "[--expect-peers N] [--quota NAME=N ...]"
)
OPTIONS: Final = (
    "--listen",
    "--folder",
    "--run",
    "--lease-fd",
    "--keys",
    "--keep-for-s",
    "--keep-bytes",
    "--expect-peers",
    "--quota",
)
SWITCHES: Final = ("--insecure", "--durable")
REFUSED: Final = 4
FAILED: Final = 3


def main(arguments: Sequence[str]) -> int:
    """Serve as `arguments` say; gives the exit code."""
    try:
        given, switches = _read(arguments)
        listen, folder = given["--listen"], Path(given["--folder"][-1])
        lease_fd = int(given.get("--lease-fd", ["0"])[-1])
        keep_for_s = float(given["--keep-for-s"][-1]) if "--keep-for-s" in given else None
        keep_bytes = int(given["--keep-bytes"][-1]) if "--keep-bytes" in given else None
        expect_peers = int(given.get("--expect-peers", ["0"])[-1])
        if {"--keys", "--insecure"} <= {*given, *switches}:
            raise ValueError
        if "--run" in given and {"--keep-for-s", "--keep-bytes"} & {*given}:  # its folder is another's
            raise ValueError
    except (ValueError, KeyError):
        complain(USAGE)
        return REFUSED
    try:
        quotas = parsed(given.get("--quota", []))
    except ValueError as error:
        complain(f"broker: {error}")
        return REFUSED
    listening = False

    def announce(endpoint: str) -> None:
        nonlocal listening
        listening = True
        try:
            sys.stdout.write(f"listening on {clean(endpoint)}\n")
            sys.stdout.flush()
        except BrokenPipeError:  # who started it is gone already; what units still have to say is taken all the same
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    try:
        serve(
            listen,
            folder,
            run=given["--run"][-1] if "--run" in given else None,
            lease_fd=lease_fd or None,
            keys=[Path(folder) for folder in given.get("--keys", [])],
            insecure="--insecure" in switches,
            durable="--durable" in switches,
            keep_for_s=keep_for_s,
            keep_bytes=keep_bytes,
            expect_peers=expect_peers,
            quotas=quotas,
            announce=announce,
        )
    except BrokerError as error:
        with suppress(OSError):  # the process that started it may be gone
            complain(f"broker: {error}")
        if isinstance(error, LogDiskFull):
            return FULL
        return FAILED if listening else REFUSED
    except Exception as error:
        if not (why := shortage.why(error)):
            raise
        with suppress(OSError, MemoryError):
            complain(f"broker: it {why}")
        return FAILED if listening else REFUSED
    return 0


def _read(arguments: Sequence[str]) -> tuple[dict[str, list[str]], set[str]]:
    """Option -> its values, and the switches. Raises ValueError for anything else."""
    given: dict[str, list[str]] = {}
    switches = set()
    words = iter(arguments)
    for word in words:
        if word in SWITCHES:
            switches.add(word)
            continue
        value = next(words, None)
        if word not in OPTIONS or value is None:
            raise ValueError(word)
        given.setdefault(word, []).append(value)
    return given, switches


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
