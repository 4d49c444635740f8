"""The end of a run, on disk: its result, then its place in the index.

Belongs here: the order of the two, and what may fail. Must not know what a result says.
"""

import contextlib
import sqlite3
from pathlib import Path

from runner import files
from runner.history import index, record
from runner.history.folder import RunFolder
from runner.verifier.verdict import Result


def keep(root: Path, folder: RunFolder, result: Result) -> None:
    """Write `result.json` into `folder`, then enter the run into the index below `root`."""
    files.write(folder.result, record.dump(result))
    with contextlib.suppress(sqlite3.Error):  # the index can be made again from the folders
        index.add(root, folder, result)
