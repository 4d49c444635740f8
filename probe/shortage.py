"""What a process may run out of beside disks: memory, descriptors, threads. In words, and asked before it hurts.

ZeroMQ ends the whole process when it cannot have a descriptor or a thread of its own, which no program deserves for its
probes. Belongs here: limits. Must not know what needs what.
"""

import errno
import os
import resource
from typing import Any, Final

from probe import handlers
from probe.native import allocate_lock, rest, start_new_thread

DESCRIPTORS: Final = 16
"""What a ZeroMQ context and its first sockets take, and some more."""
CHECKS: Final = 25
"""So often is checked whether they have ended."""
CHECK_MS: Final = 1
THREADS: Final = 3
"""The two of a ZeroMQ context, and one that uses it."""


def why(error: BaseException) -> str:
    """What `error` says there is too little of, as a sentence without a subject; "" if it says something else."""
    number = getattr(error, "errno", None)
    unmapped = isinstance(error, ImportError) and "failed to map segment" in str(error)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or unmapped:
        return f"has no memory left{_limit(resource.RLIMIT_AS, '`ulimit -v` allows {} KiB', 1024)}"
    if number == errno.EMFILE:
        return f"may open no more files{_limit(resource.RLIMIT_NOFILE, '`ulimit -n` is {}')}"
    if number == errno.ENFILE:
        return "may open no more files: the system has too many open"
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        memory = _limit(resource.RLIMIT_AS, "`ulimit -v` is {} KiB", 1024)
        limits = _limit(resource.RLIMIT_NPROC, "`ulimit -u` is {}") + memory
        return f"may start no more threads or processes{limits or ': look at pids.max of its control group'}"
    return ""


def ask_for_a_bus() -> None:
    """Raises OSError or RuntimeError where a ZeroMQ context would not get what it needs."""
    taken: list[int] = []
    gates: list[Any] = []
    before = _threads()
    try:
        for _ in range(DESCRIPTORS):
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401  # some come before one fails
        for _ in range(THREADS):
            gate = allocate_lock()
            gate.acquire()
            start_new_thread(gate.acquire, ())  # no code of ours runs there: where there is no memory it would complain
            gates.append(gate)
    finally:
        for gate in gates:
            gate.release()
        for fd in taken:
            os.close(fd)
    for _ in range(CHECKS):  # until they have given back what others are to have
        if _threads() <= before:
            return
        rest(CHECK_MS)


def _threads() -> int:
    """How many threads this process has; 0 where the system does not tell."""
    with handlers.suppressed(OSError):
        return len(os.listdir("/proc/self/task"))
    return 0


def _limit(which: int, words: str, unit: int = 1) -> str:
    with handlers.suppressed(OSError, ValueError):
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            return f" ({words.format(soft // unit)})"
    return ""
