"""One process in the supervisor's care, from its start until everything that belongs to it is gone.

Belongs here: starting it, the stages of its end, and its last words. Must not know the bus, and imports nothing of it:
the first units are started before the supervisor is up. Times are seconds of `probe.clock.monotonic`.
"""

import contextlib
import errno
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.adapters import files, process_tree

if TYPE_CHECKING:
    from probe.message import Start

MARKS: Final = "CIRCUIT_MARKS"
MARKS_FILE: Final = "unkept"
MARKS_BYTES: Final = 65_536
"""The same as in `probe.environment` and `probe.marks`, which are not here yet."""
TAIL_BYTES: Final = 4096
TAIL_LINES: Final = 20
ALONE_S: Final = 0.1
"""How long what a unit leaves behind may do nothing and not go by itself; helpers of `multiprocessing` do."""
BUSY_S: Final = 5.0
"""How long it may take while any of it has work to do: to end is work, too, and on a busy machine it waits for a
processor."""
LOOKS: Final = 5
"""How often it has to be seen to do nothing: between two looks of a supervisor that waits for a processor itself, much
may happen."""
GRACE_S: Final = 1.0
"""How long it then has between SIGTERM and SIGKILL."""
GIVE_UP_S: Final = 3.0
"""How long is tried to end what does not end by SIGKILL."""

SHOWN: Final = 10
"""How many of the processes that a unit left behind are named."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class NotStarted(Exception):
    """The process could not be started; the message says why and what to look at."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file that takes what a unit writes; of this life is what begins at `offset`."""

    path: str
    offset: int

    def tail(self) -> list[str]:
        """The last lines, readable whatever they are; none if nothing but blanks was written."""
        with contextlib.suppress(OSError), open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(self.offset, size - TAIL_BYTES)
            file.seek(start)
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
            lines = text.splitlines() if text.strip() else []
            whole = lines[1:] if start > self.offset and len(lines) > 1 else lines
            return [_readable(line) for line in whole[-TAIL_LINES:]]
        return []


@dataclass(slots=True)
class UnitProcess:
    """A unit's process. Its group has its pid as number."""

    unit: str
    pid: int
    out: Written
    err: Written
    kill_on_exit: process_tree.KillOnExit
    """What ends it when we are killed."""
    code: int | None = None
    """How it ended, as in `subprocess`; None: it runs."""
    stop_ordered_s: float | None = None
    """When it was ordered to end."""
    kill_s: float | None = None
    """When what is left gets SIGKILL; None: it was not ordered to end."""
    spread_s: float | None = None
    """When the others of its group get SIGTERM, too; None: they have, or it was not ordered to end."""
    killed: bool = False
    by_itself: bool = False
    """Its main process ended before it was ordered to."""
    warned: bool = False
    """What it left behind has got SIGTERM."""
    alone_until_s: float = 0.0
    busy_until_s: float = 0.0
    idle_looks: int = 0
    """How often in succession what it left behind was seen to do nothing."""
    empty_looks: int = 0
    """How often in succession its group was there without a living process in it."""
    leftover: tuple[str, ...] = ()
    """What it left behind and had to be ended, in words."""
    leftover_s: float = 0.0
    """When that was ordered to end."""
    recovering: bool = False

    def stop(self, now_s: float, grace_s: float) -> None:
        """SIGTERM to its main process, which ends its own: a server that is asked once by us and once by its main
        process may take the second for an order to hurry, or lose it. Half way to SIGKILL, which follows after
        `grace_s` or after an earlier grace, all others of its group get it too: a shell that waits for a command obeys
        no sooner than that has ended."""
        kill_s = now_s + grace_s
        if self.stop_ordered_s is None:
            self.stop_ordered_s = now_s
            self.spread_s = now_s + grace_s / 2
            if self.code is None:  # else `is_gone` sees to what is left
                process_tree.signal_all([self.pid], signal.SIGTERM)
        self.kill_s = min(kill_s, self.kill_s) if self.kill_s is not None else kill_s

    def has_ended(self, code: int, now_s: float) -> None:
        """Its main process is gone."""
        self.code = code
        self.by_itself = self.stop_ordered_s is None
        self.alone_until_s = max(self.kill_s or 0.0, now_s + ALONE_S)
        self.busy_until_s = now_s + BUSY_S if self.stop_ordered_s is None else 0.0

    @property
    def due_s(self) -> float | None:
        """When its next signal is due while its main process lives; None: it was not ordered to end, or has had all."""
        return self.spread_s if self.spread_s is not None else None if self.killed else self.kill_s

    def kill_if_due(self, now_s: float) -> bool:
        """The signal that is due; whether that was SIGKILL."""
        if self.spread_s is not None and now_s >= self.spread_s:
            self.spread_s = None
            process_tree.signal_all([pid for pid in process_tree.members(self.pid) if pid != self.pid], signal.SIGTERM)
        if self.kill_s is None or self.killed or now_s < self.kill_s:
            return False
        self.killed = True
        process_tree.signal_group(self.pid, signal.SIGKILL)
        return True

    def is_gone(self, orphans: list[int], doubtful: bool, now_s: float) -> bool:
        """Whether nothing of it is left; what is, is on its way out. `orphans` are what it left; `doubtful`: there are
        some that may be its."""
        left, alone = self._left(orphans)
        if now_s < self.alone_until_s:
            if self.stop_ordered_s is not None and not alone and not self.warned:  # they were ordered to end with it
                self.warned = True
                process_tree.signal_all(left, signal.SIGTERM)
            return alone and not doubtful
        if alone:
            return True
        if not self.leftover and self._is_on_its_way(left, now_s):
            return False
        if not self.leftover:
            named = [process_tree.title(pid) for pid in left[:SHOWN]] or [f"processes of group {self.pid}"]
            self.leftover = (*named, *([f"{len(left) - SHOWN} more"] if len(left) > SHOWN else []))
            self.leftover_s = now_s
            number = signal.SIGKILL if self.warned else signal.SIGTERM
            self.kill_s = now_s + (0.0 if self.warned else GRACE_S)
        elif self.kill_s is not None and now_s >= self.kill_s:
            if now_s >= self.kill_s + GIVE_UP_S:
                return True  # it may not be ended, as of another user: the audit names it
            number = signal.SIGKILL
        else:
            return False
        process_tree.signal_group(self.pid, number)
        process_tree.signal_all(left, number)
        return False

    def _left(self, orphans: list[int]) -> tuple[list[int], bool]:
        """What lives and belongs to it, as far as it can be named, and whether there is nothing of it any more. A
        process that is dead and not reaped does not count: the supervisor reaps it, or its parent never does."""
        named = [*orphans, *(pid for orphan in orphans for pid in process_tree.descendants(orphan))]
        grouped = process_tree.in_group(self.pid)
        left = [pid for pid in named if not process_tree.is_dead(pid)]
        if left or not grouped:
            self.empty_looks = 0
            return left, not left
        left = [pid for pid in process_tree.members(self.pid) if not process_tree.is_dead(pid)]
        self.empty_looks = self.empty_looks + 1 if not left and process_tree.TELLS else 0
        return left, self.empty_looks >= LOOKS  # once may be a process that moved while we looked

    def _is_on_its_way(self, left: list[int], now_s: float) -> bool:
        """Whether what is left of it may yet go by itself: it has something to do, or had just now."""
        if self.empty_looks:
            return True
        if any(map(process_tree.is_busy, left)):
            self.idle_looks = 0
            self.alone_until_s = min(now_s + ALONE_S, self.busy_until_s)
        else:
            self.idle_looks += 1
        return now_s < self.busy_until_s and self.idle_looks < LOOKS

    def last_words(self) -> dict[str, object]:
        """What `exited` says of them: the last lines of its standard error, or of its standard output where it wrote
        nothing else, as test tools do."""
        tail = self.err.tail()
        if not tail and (printed := self.out.tail()):
            return {"tail": printed, "stream": "out"}
        return {"tail": tail}


def open_marks(folder: str) -> int:
    """A descriptor of the file in the folder of journals where processes say that they can keep none, made with all its
    pages (see `probe.marks`); -1: there is no room for it."""
    try:
        fd = os.open(os.path.join(folder, MARKS_FILE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, MARKS_BYTES)
        else:
            os.truncate(fd, MARKS_BYTES)
        return fd
    except OSError:
        return -1


def start(order: "Start", marks: int = -1) -> UnitProcess:
    """Start what `order` says, in a session of its own. `marks` is what `open_marks` gave. Raises NotStarted."""
    if not os.path.isdir(order.cwd):
        raise NotStarted(f"its working directory {order.cwd} does not exist")
    if not order.argv:
        raise NotStarted("its command is empty")
    if missing := [name for name in order.private if name not in order.env]:
        raise NotStarted(f"the value of {missing[0]}, which stands in no log, has not come with the order")
    env = {**os.environ, **order.env, MARKS: ""}
    if marks >= 0:
        found = os.fstat(marks)
        env[MARKS] = f"{marks}:{found.st_dev}:{found.st_ino}"
    with contextlib.ExitStack() as stack:
        try:
            out, err = (stack.enter_context(open(path, "ab", opener=files.opener)) for path in (order.out, order.err))
        except OSError as error:
            raise NotStarted(f"its output cannot be written to {error.filename}: {error.strerror}") from None
        except ValueError as error:  # no name of a file at all
            raise NotStarted(f"its output cannot be written to {order.out!r}: {error}") from None
        for file in (out, err):
            if file.tell():
                file.write(b"--- started again ---\n")
                file.flush()
        offsets = out.tell(), err.tell()  # now: the process shares the positions
        kill_on_exit = process_tree.KillOnExit()
        try:
            popen = subprocess.Popen(
                order.argv,
                cwd=order.cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=(*kill_on_exit.inherited, *([marks] if marks >= 0 else [])),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            kill_on_exit.close()
            raise NotStarted(_why_not(error, order)) from None
        kill_on_exit.bind(popen.pid)
        popen.returncode = 0  # reaped by the supervisor, which waits for every child at once
        return UnitProcess(
            order.unit, popen.pid, Written(order.out, offsets[0]), Written(order.err, offsets[1]), kill_on_exit
        )


def _why_not(error: OSError | ValueError, order: "Start") -> str:
    command = order.argv[0]
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        if "/" in command:
            return f"command not found: there is no file {command} in {order.cwd}"
        return f"command not found: {command}; is it installed, and on PATH?"
    if number == errno.EACCES:
        return f"{command} may not be executed; chmod +x, or name its interpreter first"
    if number == errno.ENOEXEC:
        return f"{command} is no program: its first line must name an interpreter (#!/bin/sh)"
    if number == errno.E2BIG:
        return "its command line and environment are larger than the system allows (128 KiB for one value)"
    return f"{command}: {error.strerror if isinstance(error, OSError) else error}"


def _readable(line: str) -> str:
    plain = _COLOURS.sub("", line[:500]).expandtabs(4)
    return "".join(sign if sign.isprintable() else "·" for sign in plain)
