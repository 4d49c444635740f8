"""The live view of a run that another process drives.

Belongs here: finding the broker of a run and following its log. Sends no orders and keeps nothing.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from probe import environment, keys
from probe.clock import monotonic_ns
from probe.errors import KeysError
from probe.keys import Keys
from runner.adapters.bus.log_reader import LogReader
from runner.adapters.history import run_folder
from runner.adapters.history.run_folder import RunFolder
from runner.adapters.signals import Signals
from runner.adapters.terminal import Action, Screen
from runner.model.errors import BrokerFailed, UsageError
from runner.model.scenario.model import Scenario
from runner.session.dispatcher import BATCH
from runner.session.replay import Replay
from runner.session.snapshotter import FRAME_NS, Snapshotter

ANSWER_S = 3.0
"""How long the broker may take to answer; a watcher wants to see something."""
GONE_NS = 30_000_000_000
"""How long a broker may be away until it is taken to be gone: a person may be starting it again."""


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run that can be watched, and the scenario its circuits come from (an empty one when it is not known)."""

    endpoint: str
    run: str
    """Its id; "" for the newest one that the broker lets us see."""
    scenario: Scenario
    folder: RunFolder | None = None
    """Where it is kept, if it is a run of this machine."""
    keys: Keys | None = None
    """What we prove ourselves with to a broker on TCP."""

    @property
    def over(self) -> bool:
        """Whether the runner of the run has left it. Not known of a run that is kept elsewhere."""
        return self.folder is not None and not self.folder.endpoint.exists()


def attachable(endpoint: str | None, run: str | None, keys_file: Path | None, root: Path) -> WatchedRun:
    """What to watch: what is named, else what the environment names, else the newest run below `root`. `keys_file` is a
    file of keys, in place of what the environment names.

    Raises UsageError when there is nothing to watch or the keys are of no use, RecordingError when there has been no
    run at all.
    """
    found = environment.read()
    if endpoint and "://" not in endpoint:  # the name of a run, as other commands take it
        endpoint, run = "", endpoint
    else:
        endpoint, run = endpoint or found.broker, run or found.run
    if endpoint:
        try:
            ours = keys.load(keys_file) if keys_file else keys.read(found.keys, endpoint)
        except KeysError as error:
            raise UsageError(str(error)) from None
        nothing = Scenario(name=run or "newest run", folder=str(Path.cwd()), file="", units=())
        return WatchedRun(endpoint, run or "", nothing, keys=ours)
    newest = run_folder.find(run or run_folder.LATEST, root)
    if not newest.endpoint.exists():
        raise UsageError(f"run {newest.run} is over; see it with: circuit-run show {newest.display_name}")
    return WatchedRun(
        newest.endpoint.read_text(encoding="utf-8").strip(), newest.run, run_folder.scenario_of(newest), newest
    )


def watch(target: WatchedRun, scenario: Scenario, screen: Screen) -> str:
    """Show the run until it is over or the watcher has seen enough; what there is to say then. While the broker is away
    the view stays.

    Raises BrokerFailed if the broker is not there, or does not come back.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        reader = stack.enter_context(contextlib.closing(reader_of(target)))
        started_ns = reader.now_ns()
        replay = Replay(scenario, started_ns)
        dispatcher = replay.dispatcher
        dispatcher.timeline.reference = reader.host
        snapshotter = Snapshotter(scenario, dispatcher, reader, started_ns)
        others = [signals.fileno(), *([fd] if (fd := screen.fileno()) is not None else [])]
        unsettled = False
        while not dispatcher.over:
            now_ns = reader.now_ns()
            if not reader.connected:
                if target.over:
                    break
                see_whether_gone(reader, target)
            reader.ask()
            screen.show(snapshotter.take("watching", now_ns))
            reader.wait(others, 0 if unsettled else FRAME_NS // 1_000_000)
            asked = screen.keys()
            if signals.taken() or Action.QUIT in asked:
                return ""
            for entry in reader.receive(BATCH):
                replay.take(entry)
            unsettled = dispatcher.settle()
        screen.show(snapshotter.take("done", reader.now_ns()))
    if target.folder is None:
        return f"run {target.run} is over" if target.run else "the run is over"
    if dispatcher.over and replay.finished:
        return f"run {target.run} is over; see it with: circuit-run show {target.folder.display_name}"
    return (
        f"run {target.run} has no runner any more; judge what it left: circuit-run verify {target.folder.display_name}"
    )


def reader_of(target: WatchedRun) -> LogReader:
    """Who follows the log of the run. Raises BrokerFailed, with what to do instead."""
    try:
        return LogReader(target.endpoint, target.run, "watcher", keys=target.keys, timeout_s=ANSWER_S)
    except BrokerFailed as error:  # of a run of ours, perhaps one whose runner and broker were killed
        if target.folder is None:
            raise
        raise BrokerFailed(
            f"{error}\nwhat came until then is kept: circuit-run verify {target.folder.display_name}"
        ) from None


def see_whether_gone(reader: LogReader, target: WatchedRun) -> None:
    """Raises BrokerFailed if the broker has been away for too long."""
    if monotonic_ns() - reader.heard_ns < GONE_NS:
        return
    kept = (
        f"; what came until then is kept: circuit-run verify {target.folder.display_name}"
        if target.folder is not None
        else ""
    )
    raise BrokerFailed(f"the broker at {target.endpoint} has been away for {GONE_NS // 1_000_000_000} s{kept}")
