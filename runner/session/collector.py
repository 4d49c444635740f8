"""The garbage collector of a process that reads a run.

Belongs here: how often it looks. Must not know what is read.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECT_EVERY: Final = 200_000
"""Containers that may be made before the collector looks."""


@contextmanager
def calm_collector() -> Iterator[None]:
    """Make the garbage collector look rarely for a while. Records are plain values without cycles and come by the
    hundred thousand a second; at the default threshold a quarter of the time goes into looking at them in vain."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
