"""Scenarios run one after the other, each as often as it says, and what they come to together.

Belongs here: what a run needs around `live`: its folder, its processes, the audit of what it left behind, its result on
disk; and what there is to say of a run that came to no result. Must not print, or know options and exit codes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from probe import disk, environment
from runner.adapters.history import run_folder
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.launch.audit import Audit
from runner.adapters.launch.external_broker import ExternalBroker
from runner.adapters.launch.run_processes import RunProcesses
from runner.adapters.signals import Signals
from runner.model.errors import BrokerFailed, BrokerFull, DiskFull, RecordingError, SupervisorFailed, UsageError
from runner.model.result.result import Result, Verdict
from runner.model.scenario.model import Scenario
from runner.session.collector import calm_collector

if TYPE_CHECKING:
    from runner.adapters.terminal import Screen

ROOM: Final = "free some room there, or keep runs on another disk with --runs DIR"
_WORST_FIRST: Final = (Verdict.INTERRUPTED, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED)


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs are run, beside what their scenarios say. `root` is the `.circuit` folder that keeps them; `listen` an
    endpoint for other hosts, with a keyring in `keys` if any; `broker` the endpoint of a broker to use in place of one
    of the run's own, with our keys in `keys`; `durable`: the log is synced before anything is acknowledged; `verbose`:
    the screen is shown what units print."""

    root: Path
    durable: bool = False
    listen: str = ""
    broker: str = ""
    keys: Path | None = None
    verbose: bool = False


class Audience(Protocol):
    """Who sees the runs."""

    def screen(self) -> "Screen":
        """The screen of the next run."""

    def invite(self, lines: Sequence[str]) -> None:
        """How units elsewhere join the next run."""


@dataclass(frozen=True, slots=True)
class Done:
    """One run that came to its end."""

    scenario: Scenario
    folder: RunFolder
    result: Result


@dataclass(frozen=True, slots=True)
class NotRun:
    """A scenario, one among several, that cannot be run."""

    scenario: Scenario
    why: UsageError


class Campaign:
    """The runs of `scenarios`; they happen while it is iterated. SIGINT, SIGTERM and SIGHUP end the run that is on and
    those that would follow, where the caller is the main thread."""

    def __init__(self, scenarios: Sequence[Scenario], settings: Settings, audience: Audience) -> None:
        self._scenarios = scenarios
        self._settings = settings
        self._audience = audience
        self.results: list[Result] = []
        """Of every run that came to its end, in order."""
        self.not_run: list[Scenario] = []

    @property
    def verdict(self) -> Verdict:
        """What they come to together: the worst of them, an interruption before all."""
        verdicts = {result.verdict for result in self.results}
        return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), Verdict.PASSED)

    def __iter__(self) -> Iterator[Done | NotRun]:
        """Run them. Raises UsageError for the only scenario, if it cannot be run; BrokerFailed or SupervisorFailed with
        what to do about what is left; DiskFull."""
        if environment.read().disabled:
            raise UsageError(
                f"{environment.DISABLED} is set, so no probe of this run would say anything; unset it, or set it for "
                "single units: under [units.NAME], env = { ... }"
            )
        external_broker = ExternalBroker(self._settings.broker, self._settings.keys) if self._settings.broker else None
        with Signals() as signals, calm_collector():  # until a run is kept, so that no folder stays without its result
            for scenario in (each for each in self._scenarios for _ in range(each.repeat)):
                if scenario in self.not_run:  # nor once more
                    continue
                folder = run_folder.create(self._settings.root, scenario.name)
                audit = Audit(folder.run, folder.journals, folder.display_name)
                try:
                    result = self._run(scenario, folder, audit, signals, external_broker)
                except (BrokerFailed, SupervisorFailed) as error:
                    raise type(error)("\n".join(_explained(error, scenario, folder, audit, self._settings))) from error
                except UsageError as error:
                    audit.over()
                    if len(self._scenarios) == 1:
                        raise
                    self.not_run.append(scenario)
                    yield NotRun(scenario, error)
                    continue
                except BaseException as error:
                    audit.over()
                    if isinstance(error, OSError) and disk.is_full(error):
                        place = error.filename or folder.path
                        why = disk.why(error, place)
                        raise DiskFull(f"run {folder.run} ended early: {place}: {why}; {ROOM}") from None
                    raise
                unkept = _keep(self._settings.root, scenario, folder, result)
                self.results.append(result)
                yield Done(scenario, folder, result)
                if unkept:
                    raise DiskFull(f"the result of run {folder.run} is written nowhere: {unkept}; {ROOM}")
                if result.verdict is Verdict.INTERRUPTED:
                    return

    def _run(
        self,
        scenario: Scenario,
        folder: RunFolder,
        audit: Audit,
        signals: Signals,
        external_broker: ExternalBroker | None,
    ) -> Result:
        settings = self._settings
        keyring = settings.keys if settings.listen else None
        with RunProcesses(
            scenario,
            folder.path,
            folder.run,
            durable=settings.durable,
            listen=settings.listen,
            keyring=keyring,
            external_broker=external_broker,
        ) as processes:
            if external_broker is None:
                audit.must_go(Path(processes.endpoint.removeprefix("ipc://")).parent)
            if processes.key_folder is not None:
                audit.must_go(processes.key_folder)
            if settings.listen:
                self._audience.invite(processes.invitations())
            from runner.session import live, post_checks  # takes as long as the processes take to come up

            with self._audience.screen() as screen:
                result = live.run(scenario, folder, processes, screen, signals, verbose=settings.verbose)
        return post_checks.with_findings(result, post_checks.left_behind(audit.over()))


def _keep(root: Path, scenario: Scenario, folder: RunFolder, result: Result) -> str:
    """Write down what the run came to. Why that is not possible, if a full disk takes no result."""
    from runner.adapters import files, terminal
    from runner.adapters.history import index

    unkept = index.keep(root, folder, result)
    if scenario.legacy is not None and scenario.legacy.save_resume:
        with open(folder.path / "resume.txt", "w", encoding="utf-8", opener=files.opener) as resume:
            terminal.print_summary(result, scenario, folder.path, stream=resume)
    return unkept


def _explained(
    error: BrokerFailed | SupervisorFailed, scenario: Scenario, folder: RunFolder, audit: Audit, settings: Settings
) -> Iterator[str]:
    """Why a run has no result, in lines, and what there is to do."""
    came = _came(folder)
    yield str(error)
    yield from _what_is_left(folder, audit, came=came)
    if isinstance(error, DiskFull) or (isinstance(error, BrokerFull) and came):
        yield from _as_far_as_it_went(settings.root, scenario, folder)
    if isinstance(error, DiskFull):
        yield ROOM


def _what_is_left(folder: RunFolder, audit: Audit, *, came: bool) -> Iterator[str]:
    """What was left behind, and how to judge what is kept. That is nothing where the broker has never let us in and
    only the supervisor wrote something down."""
    wrote = came or (folder.journals.is_dir() and any(not p.name.startswith("_") for p in folder.journals.iterdir()))
    yield from (left.sentence for left in audit.over() if wrote or not left.evidence)
    if came:
        yield f"what came until then is kept: circuit-run verify {folder.display_name}"


def _as_far_as_it_went(root: Path, scenario: Scenario, folder: RunFolder) -> Iterator[str]:
    """The verdict on what came until the disk was full, which is written down if it fits."""
    from runner.adapters.history import index
    from runner.session import replay

    with contextlib.suppress(RecordingError):
        result = replay.verify(scenario, folder)
        where = "is not kept, for it does not fit" if index.keep(root, folder, result) else f"is in {folder.result}"
        yield f"as far as it went it is {result.verdict}; the result {where}"


def _came(folder: RunFolder) -> bool:
    """Whether anything came of a run."""
    from broker import log
    from probe.message import Names

    return folder.log.exists() and any(not isinstance(entry.message, Names) for entry in log.scan(folder.log))
