"""A scenario as bytes for the run folder, and back.

Belongs here: the JSON form, which is the model's own. Must not know where the bytes are kept.
"""

import msgspec

from runner.model.errors import RecordingError
from runner.model.scenario.model import Scenario


def save(scenario: Scenario) -> bytes:
    """The scenario as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(scenario), indent=2)


def restore(data: bytes) -> Scenario:
    """What `save` made. Raises RecordingError for anything else."""
    try:
        return msgspec.json.decode(data, type=Scenario)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise RecordingError(f"the recorded scenario is damaged: {error}") from None
