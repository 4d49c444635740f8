"""One run from start to end: the only place where the stages meet.

run       start everything, follow the log, end everything          (live)
recorded  the log of a run that is over, judged again                (verify)
attach    the log of a run that somebody else drives                 (watch)
intake    what all three do with a log entry
picture   what the live view shows of it
"""

from runner.session.attach import attachable, watch
from runner.session.outcome import Outcome
from runner.session.recorded import verify
from runner.session.run import run

__all__ = ["Outcome", "attachable", "run", "verify", "watch"]
