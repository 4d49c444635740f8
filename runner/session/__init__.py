"""One run from start to end: the only place where the stages meet.

run       start everything, follow the log, end everything          (live)
recorded  the log of a run that is over, judged again                (verify)
attach    the log of a run that somebody else drives                 (watch)
clockwatch   what that log says about clocks                       (clocks)
recover   journals that nobody published                            (recover)
dispatcher    what all three do with a log entry
picture   what the live view shows of it
"""

from runner.session.attach import attachable, watch
from runner.session.clockwatch import clocks, on_the_timeline, timeline_of
from runner.session.live import run
from runner.session.outcome import Outcome
from runner.session.recover import Rescue, recover_folder, recover_run
from runner.session.replay import verify

__all__ = [
    "Outcome",
    "Rescue",
    "attachable",
    "clocks",
    "on_the_timeline",
    "recover_folder",
    "recover_run",
    "run",
    "timeline_of",
    "verify",
    "watch",
]
