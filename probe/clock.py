"""Time and identity of one life of a process: the host's boot id, incarnation numbers, and how far clocks drift.

Must not know events, files or sockets. Stamps themselves are `time.monotonic_ns()`, called where they are taken.
"""

import functools
import os
import sys
from typing import Final

MAX_DRIFT_PPM: Final = 500
"""How fast two clocks may drift apart, in millionths. A quartz is off by 100 at most; 500 is what a system's time
discipline (NTP, PTP) may slew CLOCK_MONOTONIC by."""

_FIRST_TIME_NAMESPACE: Final = "time:[4026531834]"
"""The kernel's name of the one that every process is in unless somebody made another."""

_PID_BITS: Final = 22
"""No pid of Linux has more."""


@functools.cache
def boot_id() -> str:
    """Id of the clock of this process: monotonic stamps of processes with the same one can be compared.

    It is the boot id of the host; in a time namespace of its own, where CLOCK_MONOTONIC may be set off, with its name.
    """
    return _boot() + _time_namespace()


def drift_ns(elapsed_ns: int, ppm: int = MAX_DRIFT_PPM) -> int:
    """How far two clocks can drift apart in so long a time (of which the sign does not matter), rounded up."""
    return -(-abs(elapsed_ns) * ppm // 1_000_000)


def _time_namespace() -> str:
    try:
        name = os.readlink("/proc/self/ns/time")
    except OSError:
        return ""
    return "" if name == _FIRST_TIME_NAMESPACE else f"/{name}"


def _boot() -> str:
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
    """A number of 63 bits that no other life of any unit has, whatever clocks do: random bits, and behind them the pid,
    so that processes that live at once on a host differ for certain. It says nothing about which life came first.
    """
    chance = int.from_bytes(os.urandom(8), "big") >> (1 + _PID_BITS)
    return chance << _PID_BITS | os.getpid() & ((1 << _PID_BITS) - 1)
