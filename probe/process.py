"""Whether another process of this host still lives, as the system tells it.

Must not know journals, sockets or who asks.
"""

import os


def lives(pid: int) -> bool:
    """Whether there is such a process. One that has ended and was not yet waited for is none, where the system tells
    (/proc)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rpartition(b")")[2].split()[0]  # a command's name may contain a bracket
            return state not in (b"Z", b"X")
    except (OSError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def maps(pid: int, folder: str) -> bool:
    """Whether that process has a file of `folder` (an absolute path without links) in its memory; so it lives, whatever
    it has closed. False where the system does not tell."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return os.fsencode(f" {folder}/") in file.read()
    except OSError:
        return False
