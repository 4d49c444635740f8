"""Time and identity of one life of a process: the host's boot id and incarnation numbers.

Must not know events, files or sockets. Stamps themselves are `time.monotonic_ns()`, called where they are taken.
"""

import functools
import os
import sys
import time

_last_incarnation = 0


@functools.cache
def boot_id() -> str:
    """Id of this boot of this host: monotonic stamps of processes with the same one can be compared."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        import subprocess  # rare, and not for free: only where there is no /proc

        answer = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    return os.uname().nodename


def new_incarnation() -> int:
    """A number no other life of any unit on this host has: the wall clock, with the low 16 bits of the pid at its end.

    Later lives have greater numbers, as long as the wall clock is not set back between them.
    """
    global _last_incarnation
    number = (time.time_ns() & ~0xFFFF) | (os.getpid() & 0xFFFF)
    if number <= _last_incarnation:
        number = _last_incarnation + 0x10000
    _last_incarnation = number
    return number
