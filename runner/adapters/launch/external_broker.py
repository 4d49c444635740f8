"""A broker that another user or process runs, in the place of one of our own.

Belongs here: where it is, and what we prove ourselves with. It is neither started nor ended here, nor started again.
"""

from pathlib import Path
from typing import Final

from broker import endpoints
from broker.errors import BrokerError
from probe import keys
from probe.errors import KeysError
from probe.keys import Keys
from runner.model.errors import UsageError


class ExternalBroker:
    """The broker at `endpoint`. `key_file` has our keys for it, those of a runner; they stay in this process. Raises
    UsageError for an address or keys that make no sense."""

    code: Final = None
    """It does not end, as far as we are concerned; that it is away is noticed on the bus."""

    def __init__(self, endpoint: str, key_file: Path | None) -> None:
        try:
            endpoints.parse(endpoint)
            self.keys: Keys | None = keys.load(key_file) if key_file is not None else None
        except BrokerError as error:
            raise UsageError(f"--broker {error}") from None
        except KeysError as error:
            raise UsageError(f"--keys: {error}") from None
        self._endpoint = endpoint

    def endpoint(self, number: int = 0) -> str:
        """Where it listens; it has one address for all."""
        del number
        return self._endpoint

    def check(self) -> None:
        """Nothing is known to be wrong with it."""

    def again(self) -> "ExternalBroker":
        """The runner cannot start it again."""
        return self

    def close(self) -> None:
        """It goes on."""
