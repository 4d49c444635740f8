"""Which processes belong to which unit and run, as the system shows it.

Belongs here: reading the process tree, signalling a part of it, and tying a part of it to our own life. Must not know
units' rules or the bus. Where there is no /proc (macOS) only a process group can be seen; what left its group is then
not found, and nothing ends because we do.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_PR_SET_CHILD_SUBREAPER: Final = 36
TELLS: Final = os.path.isdir("/proc/self/task")
"""Whether the system tells who lives, and what it does."""


class KillOnExit:
    """Binds one process group to this process: when this ends, by SIGKILL too, the kernel kills the group (Linux;
    elsewhere nothing).

    A pipe whose writing end only we hold; the kernel signals the owner of a reading end when the last writer is gone.
    A parent-death signal would take a loader in between, and reach no grandchildren. Not reached is what has left the
    group, and a group in which every process has closed the descriptor that it inherited.
    """

    def __init__(self) -> None:
        self._ours = self._theirs = -1
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # no descriptor is left: better a unit without than no unit
                self._theirs, self._ours = os.pipe()

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that the group has to inherit."""
        return (self._theirs,) if self._theirs >= 0 else ()

    def bind(self, group: int) -> None:
        """From now on `group` is bound to this process."""
        if self._theirs >= 0:
            fcntl.fcntl(self._theirs, fcntl.F_SETOWN, -group)
            fcntl.fcntl(self._theirs, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(self._theirs, fcntl.F_SETFL, os.O_ASYNC)
            os.close(self._theirs)
            self._theirs = -1

    def close(self) -> None:
        """Kills what is still bound. Twice is harmless."""
        for fd in (self._ours, self._theirs):
            if fd >= 0:
                os.close(fd)
        self._ours = self._theirs = -1


class Process(NamedTuple):
    """A living process. `environ` is what it was started with: NAME=value, each closed by a zero byte."""

    pid: int
    parent: int
    session: int
    environ: bytes = b""

    def was_given(self, name: str, value: str) -> bool:
        """Whether variable `name` was set to `value`."""
        return os.fsencode(f"\0{name}={value}\0") in b"\0" + self.environ

    def variable(self, name: str) -> str:
        """What variable `name` was set to; "" if to nothing."""
        _, found, value = (b"\0" + self.environ).partition(os.fsencode(f"\0{name}="))
        return os.fsdecode(value.partition(b"\0")[0]) if found else ""


def processes() -> list[Process]:
    """Every process that lives; without `environ` those that may not be asked. None where there is no /proc."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            _, _, rest = _read(f"/proc/{name}/stat").rpartition(b")")  # a command's name may contain one
            state, parent, _, session, *_ = rest.split(maxsplit=4)
            if state not in (b"Z", b"X"):
                found.append(Process(int(name), int(parent), int(session), _environ(name)))
    return found


def _environ(pid: str) -> bytes:
    with contextlib.suppress(OSError):
        return _read(f"/proc/{pid}/environ")
    return b""


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def adopt_orphans(adopt: bool = True) -> None:
    """From now on, orphaned descendants of this process become its children, daemons too (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def reap(pids: Iterable[int]) -> None:
    """Let go of those children among `pids` that have ended."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


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


def is_busy(pid: int) -> bool:
    """Whether `pid` has something to do: a thread of it runs, or waits for a processor or a disk. False where the
    system does not tell."""
    return any(state in (b"R", b"D") for state in _states(pid))


def is_dead(pid: int) -> bool:
    """Whether `pid` is gone, or waits for nothing but to be reaped. False where the system does not tell."""
    return TELLS and all(state in (b"Z", b"X") for state in _states(pid))


def _states(pid: int) -> list[bytes]:
    """The states of its threads, as letters; that of the first thread, which may have ended before others, alone says
    nothing."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError, IndexError):
                found.append(_read(f"/proc/{pid}/task/{task}/stat").rpartition(b")")[2].split()[0])
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
    """Whether anything is left in process group `group`, be it dead and not reaped."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so for a group of zombies
        return sys.platform == "linux"
    return True


def members(number: int) -> list[int]:
    """Descendants of this process in process group `number`; none where there is no /proc."""
    return [pid for pid in descendants(os.getpid()) if group(pid) == number]


def signal_group(group: int, number: signal.Signals) -> None:
    """Signal everything in `group`; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Signal each of `pids`; those that are gone are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def strays(run: str, journals: str) -> list[int]:
    """Processes of this user whose environment says that they belong to `run` and write to `journals` (both, because a
    run's id is only as unique as people let it be), or to a folder that is not there any more: it was moved."""
    from probe import environment  # the supervisor, which needs this file first of all, never comes here

    def writes_there(process: Process) -> bool:
        journal = process.variable(environment.JOURNAL)
        return journal == journals or (journal != "" and not os.path.isdir(journal))

    of_run = [p for p in processes() if p.pid != os.getpid() and p.was_given(environment.RUN, run)]
    return [process.pid for process in of_run if writes_there(process)]
