"""The end of a run on disk: its `result.json`, then its row in the index of runs, `.circuit/history.db`.

Belongs here: the order of the two, what may fail, and the table. Everything in the table can be read from the run
folders again, so a lost index loses nothing. Must not know what a result says.
"""

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from probe import disk
from runner.adapters import files
from runner.adapters.history.run_folder import RunFolder
from runner.model.result import result_json
from runner.model.result.result import Result

_TABLE: Final = """
create table if not exists runs (
    run text primary key,
    scenario text not null,
    verdict text not null,
    duration_s real not null,
    events integer not null,
    findings integer not null,
    folder text not null
)
"""


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
        add(root, folder, result)
    return ""


def add(root: Path, folder: RunFolder, result: Result) -> None:
    """Enters `result` into the index below `root`. Several runs may do so at once.

    Raises sqlite3.Error when the index cannot be written; the run itself is complete without it.
    """
    row = (
        result.run,
        result.scenario,
        result.verdict.value,
        result.duration_s,
        result.evidence.received,
        len(result.findings),
        str(folder.path.relative_to(root)) if folder.path.is_relative_to(root) else str(folder.path),
    )
    path = root / "history.db"
    with contextlib.suppress(OSError):  # what keeps it from being written is said below
        os.close(files.opener(path, os.O_RDWR | os.O_CREAT))
    with closing(sqlite3.connect(path, timeout=5)) as database, database:
        database.execute(_TABLE)
        database.execute("insert or replace into runs values (?, ?, ?, ?, ?, ?, ?)", row)
