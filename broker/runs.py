"""The runs of one broker: which are open, which rest, which is the newest.

A run is opened when somebody comes for it. One that nobody has taken part in for a while rests: its file is closed,
and what is known of it stays in memory as long as there is room, so that whoever comes back need not wait until its log
was read again. One that was forgotten is begun anew from its log; so nothing is lost either way.

Belongs here: opening, resting and forgetting. Must not know sockets or peers, nor when a run is too old.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from broker import access, log
from broker.errors import BrokerError
from broker.run import Run
from probe import private
from probe.clock import monotonic

REST_S: Final = 60.0
"""How long a run that nobody takes part in stays open. So long it is not expired either (see `expiry`)."""
MAX_RESTING_WEIGHT: Final = access.MAX_INCARNATIONS
"""How much is remembered of runs that rest, see `Run.weight`."""
MAX_RESTING: Final = access.MAX_RUNS
MAX_NAMES: Final = 4096
"""Of how many runs is known in which order they were begun."""


class Runs:
    """With `only`, that run alone, and `folder` is its folder; else each has a folder in it."""

    def __init__(self, folder: Path, only: str | None = None, *, durable: bool = False) -> None:
        """Raises BrokerError if `folder` cannot be used."""
        self.only = only
        self._durable = durable
        self._folder = folder
        self._open: dict[str, Run] = {}
        self._resting: dict[str, Run] = {}
        """Longest rested first."""
        self._used_s: dict[str, float] = {}
        """Open run -> when it was opened, or was last seen to have somebody who takes part in it."""
        self._begun: dict[str, None] = {}
        """Names, in the order in which the runs were begun."""
        if only is None:
            try:
                private.ensure(folder)
                if why := private.why_not_kept(folder):
                    raise BrokerError(f"{why}, so logs are not kept there; choose another folder")
                self._begun = dict.fromkeys(_kept(folder))
            except OSError as error:
                raise BrokerError(f"{folder}: {error.strerror}; choose a folder that you may write to") from None
        elif access.is_run_id(only):
            self._open[only] = Run(only, folder, durable=durable)
            self._begun[only] = None
        else:
            raise BrokerError(f"{only!r} is no id of a run; use letters, digits, '.', '_' and '-'")

    def find(self, name: str) -> Run | None:
        """The run, if it is open, or kept here from earlier; then it is opened. Raises BrokerError."""
        return self.open(name) if self._is_here(name) else None

    def open(self, name: str) -> Run:
        """The run, begun or continued if it is not open. Raises BrokerError."""
        if name in self._open:
            return self._open[name]
        if len(self._open) >= access.MAX_RUNS:
            self.rest(0.0)
        if len(self._open) >= access.MAX_RUNS:
            raise BrokerError(f"this broker serves {access.MAX_RUNS} runs already; start another one")
        run = self._resting.pop(name, None)
        if run is None or not run.log.resume():
            run = Run(name, self._folder / name, durable=self._durable)
        self._open[name] = run
        self._used_s[name] = monotonic()
        self._begun.setdefault(name)
        if len(self._begun) > MAX_NAMES:
            del self._begun[next(iter(self._begun))]
        return run

    def newest(self, may_see: Callable[[str], bool] = lambda _name: True) -> Iterator[str]:
        """Names of runs that are here, the one that was begun last first; those that somebody `may_see`."""
        return (name for name in reversed(list(self._begun)) if may_see(name) and self._is_here(name))

    def all(self) -> list[Run]:
        """Every open run."""
        return list(self._open.values())

    def in_use(self, name: str, within_s: float = REST_S) -> bool:
        """Whether somebody takes part in the run, or has done so, or has opened it, in the last `within_s`."""
        run = self._open.get(name)
        if run is None:
            return False
        if run.users or self.only:
            self._used_s[name] = monotonic()
            return True
        return monotonic() - self._used_s[name] < within_s

    def rest(self, after_s: float) -> None:
        """Close what nobody has taken part in for so long. To be called between two turns, now and then."""
        for run in self.all():
            if self.in_use(run.name, after_s):
                continue
            self._let_go(run)
            self._resting[run.name] = run
        weight = sum(run.weight for run in self._resting.values())
        while weight > MAX_RESTING_WEIGHT or len(self._resting) > MAX_RESTING:
            weight -= self._resting.pop(next(iter(self._resting))).weight

    def forget(self, name: str) -> None:
        """Its log is going to be removed."""
        if name in self._open:
            self._let_go(self._open[name])
        self._resting.pop(name, None)
        self._begun.pop(name, None)

    def close(self) -> None:
        """Write what is left and let go of the files."""
        for run in self.all():
            run.flush()
            run.log.close()

    def _let_go(self, run: Run) -> None:
        run.flush()
        run.log.rest()
        del self._open[run.name], self._used_s[run.name]

    def _is_here(self, name: str) -> bool:
        if name in self._open:
            return True
        return self.only is None and access.is_run_id(name) and (self._folder / name / log.FILE_NAME).exists()


def _kept(folder: Path) -> list[str]:
    """Names of the runs in `folder`, the one that was written last at the end; not more than MAX_NAMES."""
    found = []
    for path in folder.iterdir():
        try:
            found.append(((path / log.FILE_NAME).stat().st_mtime_ns, path.name))
        except OSError:
            continue
    return [name for _, name in sorted(found)[-MAX_NAMES:] if access.is_run_id(name)]
