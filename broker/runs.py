"""The runs of one broker: which are open, which rest, which is the newest.

A run is opened when a peer comes for it. One that no peer has taken part in for a while rests: its file is closed,
and what is known of it stays in memory as long as there is room, so that a peer that comes back need not wait until its
log was read again. One that was forgotten is begun anew from its log; so nothing is lost either way.

Belongs here: opening, resting and forgetting. Must not know sockets or peers, nor when a run is too old.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from broker import access, log
from broker.errors import BrokerError, LogError, NoRoom, OverQuota, complain
from broker.quotas import USUAL, Quotas, Share
from broker.run import Run
from broker.space import HALF_LIFE_S, Space, Writer, free_bytes, who_fills
from probe import disk, private
from probe.clock import monotonic

REST_S: Final = 60.0
"""How long a run without peers stays open. So long it is not expired either (see `retention`)."""
MAX_RESTING_WEIGHT: Final = access.MAX_INCARNATIONS
"""How much is remembered of runs that rest, see `Run.weight`."""
MAX_RESTING: Final = access.MAX_RUNS
MAX_NAMES: Final = 4096
"""Of how many runs is known in which order they were begun."""


class Stopped(NamedTuple):
    """A run that had to be stopped, and why; with `key`, for who has come in with that key alone."""

    run: Run
    why: str
    key: str = ""


class Runs:
    """With `only`, that run alone, and `folder` is its folder; else each has a folder in it."""

    def __init__(self, folder: Path, only: str | None = None, *, durable: bool = False, quotas: Quotas = USUAL) -> None:
        """Raises BrokerError if `folder` cannot be used."""
        self.only = only
        self._most_bytes = quotas.run_bytes
        self._space: Space | None = None
        """What is left of the disk; None: our only run may fill it, and we end with it."""
        self._stopped: dict[str, str] = {}
        """Run that was stopped -> why; until there is room again."""
        self._too_long: dict[str, str] = {}
        """The same for those whose log is as long as it may be."""
        self._durable = durable
        self._folder = folder.absolute()  # as it is named to peers elsewhere
        self._open: dict[str, Run] = {}
        self._resting: dict[str, Run] = {}
        """Longest rested first."""
        self._used_s: dict[str, float] = {}
        """Open run -> when it was opened, or was last seen to have a peer."""
        self._begun: dict[str, None] = {}
        """Names, in the order in which the runs were begun."""
        if only is None:
            try:
                private.ensure(folder)
                if why := private.why_not_kept(folder):
                    raise BrokerError(f"{why}, so logs are not kept there; choose another folder")
                self._begun = dict.fromkeys(_kept(folder))
                self._space = Space(lambda: free_bytes(folder))
            except OSError as error:
                raise BrokerError(f"{folder}: {error.strerror}; choose a folder that you may write to") from None
        elif access.is_run_id(only):
            self._open[only] = Run(only, folder, durable=durable)
            self._begun[only] = None
        else:
            raise BrokerError(f"{only!r} is no id of a run; use letters, digits, '.', '_' and '-'")

    def find(self, name: str) -> Run | None:
        """The run, if it is open, or kept here from earlier; then it is opened. Raises BrokerError."""
        return self.open(name) if self.is_here(name) else None

    def open(self, name: str, opener: Share | None = None) -> Run:
        """The run, begun or continued if it is not open; `opener` is what the key has of this broker that wants it.
        Raises BrokerError: NoRoom on the disk, or OverQuota where that is too much."""
        if name in self._open:
            return self._open[name]
        if why := self._stopped.get(name) or self._too_long.get(name):
            raise NoRoom(why)
        if len(self._open) >= access.MAX_RUNS or (opener is not None and opener.why_no_run()):
            self.rest(0.0)
        if len(self._open) >= access.MAX_RUNS:
            raise BrokerError(f"this broker serves {access.MAX_RUNS} runs already; start another one")
        if opener is not None and (why := opener.why_no_run()):
            raise OverQuota(why)
        run = self._resting.pop(name, None)
        if run is None or not run.log.resume():
            self._check_room(name)
            run = Run(name, self._folder / name, durable=self._durable)
        if opener is not None:
            run.begin(opener.key)
            opener.runs += 1
        run.opener = opener
        self._open[name] = run
        self._used_s[name] = monotonic()
        self._begun.setdefault(name)
        if len(self._begun) > MAX_NAMES:
            del self._begun[next(iter(self._begun))]
        return run

    def newest(self, may_see: Callable[[str], bool] = lambda _name: True) -> Iterator[str]:
        """Names of runs that are here, the one that was begun last first; those that are `may_see`."""
        return (name for name in reversed(list(self._begun)) if may_see(name) and self.is_here(name))

    def all(self) -> list[Run]:
        """Every open run."""
        return list(self._open.values())

    def write(self) -> list[Stopped]:
        """Write what was accepted since the last time: it may be acknowledged then. Gives the runs that had to be
        stopped: there is no room on the disk, or their log cannot be written. What they had accepted was not written.
        Where there is only one run, LogError is raised instead."""
        stopped: list[Stopped] = []
        for run in self.all():
            size = run.unwritten_bytes
            if not size:
                continue
            if self._space is None:
                run.flush()
                continue
            while run.name in self._open and not self._space.fits(size):
                stopped.append(self._make_room(run))
                self._space.give()
            if run.name not in self._open:
                continue
            if why := self._why_too_long(run):
                self._too_long[run.name] = why
                stopped.append(self._stop(run, why))
                continue
            try:
                run.flush()
            except LogError as error:
                stopped.append(self._stop(run, f"run {run.name!r} is stopped: {error}"))
                continue
            self._space.wrote(size)
        return stopped

    def housekeep(self, passed_s: float) -> None:
        """See how much room there is on the disk. To be called about once a second."""
        if self._space is None:
            return
        again = self._space.check()
        if again:
            self._stopped.clear()
        for run in self._open.values():
            run.written = {key: size * 0.5 ** (passed_s / HALF_LIFE_S) for key, size in run.written.items()}
            if again:
                run.shut_out.clear()

    def in_use(self, name: str, within_s: float = REST_S) -> bool:
        """Whether a peer takes part in the run, or has done so, or has opened it, in the last `within_s`."""
        run = self._open.get(name)
        if run is None:
            return False
        if run.users or self.only:
            self._used_s[name] = monotonic()
            return True
        return monotonic() - self._used_s[name] < within_s

    def rest(self, after_s: float) -> None:
        """Close runs that no peer has taken part in for so long. To be called between two turns, now and then."""
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
        self._remove(run)

    def _make_room(self, wants: Run) -> Stopped:
        """Stop who fills the disk. A key that writes into the run of another one has to leave, and the run goes on."""
        writers = [Writer(run.name, key, size) for run in self.all() for key, size in run.written.items()]
        full = who_fills(writers or [Writer(wants.name, wants.maker, 0.0)])
        run = self._open[full.run]
        if full.key in ("", run.maker):
            return self._stop(run, self._why_full(run, f"run {run.name!r} is stopped", "this one"))
        why = self._why_full(run, f"the key {full.key!r} is shut out of run {run.name!r}", "it")
        complain(f"broker: {why}")
        del run.written[full.key]
        run.shut_out[full.key] = why
        return Stopped(run, why, full.key)

    def _stop(self, run: Run, why: str) -> Stopped:
        """No peer gets in any more, and what is known of it has to be read again from its log."""
        complain(f"broker: {why}")
        run.log.close()
        self._remove(run)
        self._stopped[run.name] = why
        return Stopped(run, why)

    def _remove(self, run: Run) -> None:
        if run.opener is not None:
            run.opener.runs -= 1
            run.opener = None
        del self._open[run.name], self._used_s[run.name]

    def _why_full(self, run: Run, what: str, who: str) -> str:
        return (
            f"{what}: {run.log.path}: {disk.room(run.log.path)}, kept back for others, and "
            f"{who} has written most lately; nothing after byte {run.log.end} was acknowledged; make room there, or "
            "have the broker started with --keep-bytes"
        )

    def _why_too_long(self, run: Run) -> str:
        if run.log.end + run.unwritten_bytes <= self._most_bytes:
            return ""
        return (
            f"run {run.name!r} is stopped: its log has {run.log.end:,} bytes, and the quota of a run is "
            f"{self._most_bytes:,}; begin a new run, or have the broker started with --quota run-bytes=N"
        )

    def _check_room(self, name: str) -> None:
        """Raises NoRoom for a new run when there is little room on the disk."""
        if self._space is None or not self._space.is_low() or self.is_here(name):
            return
        raise NoRoom(
            f"{self._folder}: {disk.room(self._folder)}, kept back for the runs that are here, so none begins; "
            "make room there, or have the broker started with --keep-bytes"
        )

    def is_here(self, name: str) -> bool:
        """Whether the run is open, or kept here from earlier."""
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
