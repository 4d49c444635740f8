"""What units wrote down and was not published, brought into a log after all: `circuit-run recover`.

Belongs here: which broker takes it, opening one on the log of a run whose broker is gone, and who still lives. How a
journal is published is `probe.recovery`'s business; must not know words for people.
"""

import contextlib
import fcntl
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probe import journal, keys, marks, recovery
from probe.clock import monotonic
from probe.errors import JournalError, KeysError
from probe.keys import Keys
from probe.recovery import Recovered
from runner.adapters import process_tree
from runner.adapters.history import log_file
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.launch.leased_process import Broker, private_endpoint
from runner.model.errors import UsageError

SUPERVISOR: Final = "runner.adapters.supervisor.supervisor"
"""While it lives, so may the runner, who starts a broker that was killed again."""
GRACE_S: Final = 2.0
"""How long what is to be ended has between SIGTERM and SIGKILL, and after it."""
STEP_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Rescue:
    """What came of it."""

    journals: tuple[Recovered, ...]
    """Those whose processes are dead."""
    living: tuple[str, ...]
    """What still lives, so that its journals were left alone: processes, or journals where no more is known."""
    ended: tuple[str, ...] = ()
    """Processes that were ended first."""


def recover_run(kept: RunFolder, *, unit: str | None, keys_file: str, timeout_s: float, end: bool) -> Rescue:
    """Publish the journals of a run into its log; with `end`, end the processes of the run that still live first.

    The run's own broker takes them if it still lives, else one that is opened for it. `timeout_s` is for each journal.
    Raises BrokerFailed when there can be no broker, UsageError for keys that are none and while another process does
    it."""
    run = _run_of(kept)
    ended = _end(kept, run) if end else ()
    journals: list[Recovered] = []
    if journal.left(kept.journals):
        with _broker_of(kept, run, keys_file) as (broker, its_keys):
            journals = recovery.recover(kept.journals, broker, unit=unit, keys=its_keys, timeout_s=timeout_s)
    if not journal.left(kept.journals) and not _living(kept, run):
        (kept.journals / marks.FILE).unlink(missing_ok=True)
    return Rescue(tuple(journals), tuple(map(process_tree.title, _living(kept, run))), ended)


def _run_of(kept: RunFolder) -> str:
    """The id of the run: what its log says, else what its journals say, else the name of its folder."""
    run = log_file.run_of(kept)
    named = recovery.runs(kept.journals) if run == kept.run else []
    return named[0] if len(named) == 1 else run


def recover_folder(
    folder: Path | None, broker: str, *, run: str, unit: str | None, keys_file: str, timeout_s: float
) -> Rescue:
    """Publish the journals of `run` in `folder` (None: where units of this user keep theirs) through `broker`.

    It has `timeout_s` for each. Raises UsageError for a folder or keys that are none, and without a run where there are
    journals of several: each belongs into the log of its own, which another broker may keep.
    """
    try:
        journals = journal.home("") if folder is None else folder
    except (OSError, JournalError) as error:
        raise UsageError(f"{error}; name the folder of the journals with --journals") from None
    if not journals.is_dir():
        raise UsageError(f"{journals} is no folder; journals are in the folder that CIRCUIT_JOURNAL names for the unit")
    if not run and len(runs := recovery.runs(journals)) > 1:
        raise UsageError(f"{journals} has journals of {len(runs)} runs: {', '.join(runs)}; say which one with --run ID")
    its_keys = _keys(keys_file, broker)
    found = recovery.recover(journals, broker, run=run or None, unit=unit, keys=its_keys, timeout_s=timeout_s)
    return Rescue(tuple(found), tuple(_locked(journals)))


@contextlib.contextmanager
def _broker_of(kept: RunFolder, run: str, keys_file: str) -> Iterator[tuple[str, Keys | None]]:
    """Where the broker of the run listens, and the keys for it; one is opened if its own is gone. Raises UsageError if
    another process has opened one."""
    if _is_written(kept.log):
        if not kept.endpoint.exists():
            raise UsageError(f"another process recovers run {run}; look again when that is done")
        endpoint = kept.endpoint.read_text(encoding="utf-8").strip()
        yield endpoint, _keys(keys_file, endpoint)
        return
    if lives := [title for title in map(process_tree.title, _living(kept, run)) if SUPERVISOR in title]:
        raise UsageError(f"run {run} has its supervisor still: {lives[0]}; wait for its end, or end it with --end")
    kept.endpoint.unlink(missing_ok=True)  # no broker is there any more
    with private_endpoint() as endpoint:
        with contextlib.closing(Broker(endpoint, run, kept.path)) as broker:
            broker.endpoint()
            yield endpoint, None


def _is_written(log: Path) -> bool:
    """Whether a broker lives that writes this log: it holds a lock on it."""
    try:
        with log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no log yet
        return False
    return False


def _keys(path: str, broker: str) -> Keys | None:
    try:
        return keys.read(path, broker)
    except KeysError as error:
        raise UsageError(str(error)) from None


def _living(kept: RunFolder, run: str) -> list[int]:
    return process_tree.strays(run, str(kept.journals))


def _end(kept: RunFolder, run: str) -> tuple[str, ...]:
    """End what lives of the run, and name it."""
    titles: dict[int, str] = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = _living(kept, run)
        titles.update((pid, process_tree.title(pid)) for pid in left if pid not in titles)
        process_tree.signal_all(left, number)
        deadline_s = monotonic() + GRACE_S
        while _living(kept, run) and monotonic() < deadline_s:
            time.sleep(STEP_S)
    return tuple(titles.values())


def _locked(journals: Path) -> Iterator[str]:
    """The names of journals that belong to living processes."""
    for path in journal.folders(journals):
        try:
            journal.Folder(path).close()
        except BlockingIOError:
            yield path.name
        except OSError:
            continue
