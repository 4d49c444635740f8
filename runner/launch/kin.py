"""Which processes belong to whom, as the system tells it.

Belongs here: reading the process tree and signalling a part of it. Must not know units' rules or the bus. Where there
is no /proc (macOS) only a process group can be seen; what left its group is then not found.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """From now on, orphaned descendants of this process become its children, daemons too (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid: int) -> list[int]:
    """Living and dead-but-unreaped children of `pid`."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for _ in range(2):  # the system may skip one while another one ends
                with contextlib.suppress(OSError):
                    found.update(map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split()))
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Children of `pid`, their children, and so on."""
    found = children(pid)
    for child in found:  # grows while we walk
        found += children(child)
    return found


def group(pid: int) -> int:
    """Process group of `pid`; 0: it is gone."""
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return 0


def variable(pid: int, name: str) -> str:
    """Environment variable `name` with which `pid` was started; "" if it had none or may not be asked."""
    with contextlib.suppress(OSError):
        start = f"{name}=".encode()
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(start):
                return entry[len(start) :].decode(errors="replace")
    return ""


def title(pid: int) -> str:
    """What `pid` is, for a person: "sleep 1000 (pid 4711)"."""
    line = ""
    with contextlib.suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{line[:200] or 'a process'} (pid {pid})"


def in_group(group: int) -> bool:
    """Whether anything is left in process group `group`."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so for a group of zombies
        return sys.platform == "linux"
    return True


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal everything in `group`; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Signal each of `pids`; those that are gone are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def strays(run: str, journals: str = "") -> list[int]:
    """Processes of this user whose environment says that they belong to `run`, and write to `journals` if that is given
    (before anything is done to them it has to be: a run's id is only as unique as people let it be)."""
    if not os.path.isdir("/proc"):
        return []
    from probe import environment  # the supervisor, which needs this file first of all, never comes here

    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
    told = {environment.RUN: run, **({environment.JOURNAL: journals} if journals else {})}
    return [pid for pid in pids if all(variable(pid, name) == value for name, value in told.items())]
