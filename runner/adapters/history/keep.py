"""The end of a run, on disk: its result, then its place in the index.

Belongs here: the order of the two, and what may fail. Must not know what a result says.
"""

import contextlib
import sqlite3
from pathlib import Path

from probe import disk
from runner.adapters import files
from runner.adapters.history import index
from runner.adapters.history.run_folder import RunFolder
from runner.model.result import result_json
from runner.model.result.result import Result


def keep(root: Path, folder: RunFolder, result: Result) -> str:
    """Write `result.json` into `folder`, then enter the run into the index below `root`. Why that is not possible, if a
    full disk takes no result."""
    try:
        files.write(folder.result, result_json.dump(result))
    except OSError as error:
        if not disk.is_full(error):
            raise
        return f"{folder.result}: {disk.why(error, folder.result)}"
    with contextlib.suppress(sqlite3.Error):  # the index can be made again from the folders
        index.add(root, folder, result)
    return ""
