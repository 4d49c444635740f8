"""What a recorded run was a run of, read back from its folder.

Belongs here: the error that says what to do without it. Must not know what a scenario says.
"""

from contextlib import suppress

from probe.message import Hello
from runner.adapters.history import replay
from runner.adapters.history.run_folder import RunFolder
from runner.model.errors import RecordingError
from runner.model.scenario import restore
from runner.model.scenario.model import Scenario


def run_of(folder: RunFolder) -> str:
    """The id of the run, also of a folder that was renamed: every HELLO in its log has it."""
    with suppress(RecordingError):
        for entry in replay.entries(folder.log):
            if isinstance(entry.message, Hello) and entry.message.run:
                return entry.message.run
    return folder.run


def scenario_of(folder: RunFolder) -> Scenario:
    """The scenario that was run. Raises RecordingError when the folder does not tell any more."""
    try:
        return restore(folder.scenario.read_bytes())
    except (OSError, RecordingError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RecordingError(
            f"{folder.scenario}: {why}; judge the run by a scenario that you have: "
            f"circuit-run verify {folder.told} --scenario PATH"
        ) from None
