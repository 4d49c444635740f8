"""What a thread does that does not come to its next checkpoint, as the kernel and the interpreter report it.

Belongs here: reading that. Must not decide what it means for an order.
"""

import sys
import threading
import traceback
from pathlib import Path
from typing import Final

FUTEX: Final = {"x86_64": "202", "aarch64": "98"}
"""Number of the system call in which a thread waits for a lock."""
_OURS: Final = str(Path(__file__).parent)
MOST_LINES: Final = 6


def waits_for_a_lock(task: str) -> bool:
    """Whether the thread with this folder in /proc is in the system call by which locks are waited for. What is not
    known is no."""
    import platform

    number = FUTEX.get(platform.machine())
    try:
        return Path(task, "syscall").read_text().split(" ", 1)[0] == number
    except OSError:
        return False


def stack(thread: threading.Thread) -> list[str]:
    """Where a thread of this process is, innermost last."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return []
    entries = [entry for entry in traceback.extract_stack(frame) if not entry.filename.startswith(_OURS)]
    return [f"{entry.filename}:{entry.lineno} in {entry.name}: {entry.line}" for entry in entries[-MOST_LINES:]]
