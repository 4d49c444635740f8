"""One run from start to end: the only place where the parts meet.

live        start everything, follow the log, end everything        (run)
replay      the log of a run that is over, judged again             (verify)
attach      the log of a run that somebody else drives              (watch)
clockwatch  what that log says about clocks                         (clocks)
recover     journals that nobody published                          (recover)

dispatcher  what all do with a log entry; retiming: stamps of other hosts' clocks
snapshotter what the live view shows of it
bundle, selection, remote_hosts, remote_output, host_results   runs over several hosts
legacy, post_checks, output, outcome   what is beside and behind a run
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
