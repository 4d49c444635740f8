"""Keys that were made for one run while it lives: by its runner for the supervisors of its hosts, and by those for the
units that they start. They are good for that run alone, and until it has had no runner for a while.

Belongs here: which there are, and a file of them, so that they are still good when the broker was started again. Their
secret halves have never been here. What a grant allows is `access`'s business.

The file has a line of JSON for each key. It is written anew when something changes, which is rare.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from broker import access
from broker.access import Grant
from broker.errors import BrokerError
from probe import keys
from probe.clock import monotonic

FILE_NAME: Final = ".issued"
"""Beside the folders of runs, or in the folder of the only one. No run is called so."""
WITHOUT_RUNNER_S: Final = 120.0
"""How long the keys of a run are good while it has no runner: longer than any host waits for one, as a rule."""
MAX_ISSUED: Final = 16_384
"""Most keys at a time."""
MAX_OF_ONE: Final = MAX_ISSUED // 2
"""Most of them that one lasting key stands behind."""


class Issued:
    """The keys that are good now, by their public halves. `folder` is where the broker keeps its logs."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._grants: dict[str, Grant] = {}
        self._seen_s: dict[str, float] = {}
        """Run -> when it was last seen to have a runner."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                self._remember(*_entry(line))

    def grant(self, public: str) -> Grant | None:
        """What the owner of this key may do; None for one that is not good here."""
        return self._grants.get(public)

    def add(self, public: str, grant: Grant) -> None:
        """Let the owner of this key do that, in the one run of `grant`; another key of its name is good no longer.
        Raises BrokerError if `public` is no key, or there are too many."""
        if self._grants.get(public) == grant:
            return
        if not keys.is_key(public) or public in self._grants:
            raise BrokerError(f"{public[:40]!r} cannot be the public key of {grant.name!r}")
        for other, known in list(self._grants.items()):
            if (known.name, known.runs) == (grant.name, grant.runs):
                del self._grants[other]
        if len(self._grants) >= MAX_ISSUED:
            raise BrokerError(f"{MAX_ISSUED} keys of runs are good here already; end some runs")
        if sum(known.holder == grant.holder for known in self._grants.values()) >= MAX_OF_ONE:
            raise BrokerError(f"{MAX_OF_ONE} keys of runs come from the key {grant.holder!r} already; end some runs")
        self._remember(public, grant)
        self._save()

    def withdraw(self, run: str, name: str = "") -> None:
        """The key `name` of a run, or all of its keys, are good no longer."""
        gone = [public for public, grant in self._grants.items() if _run(grant) == run and name in ("", grant.name)]
        for public in gone:
            del self._grants[public]
        if gone:
            self._save()

    def expire(self, has_runner: Callable[[str], bool]) -> None:
        """Forget the keys of runs that have had no runner for too long. To be called now and then."""
        now_s = monotonic()
        for run in [run for run in self._seen_s if has_runner(run)]:
            self._seen_s[run] = now_s
        over = {run for run, seen_s in self._seen_s.items() if now_s - seen_s > WITHOUT_RUNNER_S}
        for run in over:
            del self._seen_s[run]
            self.withdraw(run)

    def _remember(self, public: str, grant: Grant) -> None:
        self._grants[public] = grant
        self._seen_s.setdefault(_run(grant), monotonic())

    def _save(self) -> None:
        """A reader has either the list as it was or as it is now. A disk that refuses costs the next broker the keys,
        and this one nothing."""
        new = self._path.with_name(f"{FILE_NAME}.new")
        with suppress(OSError):
            if not self._grants:
                self._path.unlink(missing_ok=True)
                return
            new.unlink(missing_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.writelines(f"{json.dumps([public, asdict(grant)])}\n" for public, grant in self._grants.items())
            new.replace(self._path)

    def discard(self) -> None:
        """Leave nothing of it behind."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _run(grant: Grant) -> str:
    return access.unescaped(grant.runs[0])


def _entry(line: str) -> tuple[str, Grant]:
    public, fields = json.loads(line)
    if not keys.is_key(public):
        raise ValueError(public)
    roles, units, runs = (tuple(map(str, fields[name])) for name in ("roles", "units", "runs"))
    return public, Grant(fields["name"], roles, units, runs, giver=str(fields.get("giver", "")))
