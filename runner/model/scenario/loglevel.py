"""Which lines of output a log filter lets through: `debug-modes` and `test-modes` of the legacy folder shape.

Belongs here: telling the level of a line from its words. Must not know where the line comes from or is shown.
"""

import re
from collections.abc import Collection

from runner.model.scenario.model import LogMode

_LEVELS: tuple[tuple[LogMode, re.Pattern[str]], ...] = (
    ("EXCEPT", re.compile(r"\b(EXCEPT|EXCEPTION|ERROR|CRITICAL|FATAL)\b|^Traceback|^\w*(Error|Exception)\b")),
    ("WARNING", re.compile(r"\b(WARNING|WARN)\b|^\w*Warning\b")),
    ("INFO", re.compile(r"\bINFO\b")),
    ("DEBUG", re.compile(r"\bDEBUG\b")),
)


def level(line: str) -> LogMode | None:
    """The level a line of output names (the gravest, if several), or None when it names none."""
    return next((mode for mode, pattern in _LEVELS if pattern.search(line)), None)


def shows(modes: Collection[LogMode], line: str) -> bool:
    """Whether a filter that lets `modes` through shows `line`. A line without a level is always shown."""
    found = level(line)
    return found is None or found in modes
