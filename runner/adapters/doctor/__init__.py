"""Is a machine fit to take part in runs? Asks it; `core/doctor` judges what it answers.

    examine         the script that answers questions about the machine on which it runs; travels there over ssh
    ask             gives it to a Python there, or here, and puts the questions
    callback_port   a port of this machine, open for as long as a host tries to reach it
    wanted          which versions there should be: those that are here

Public names are those of `__all__`.
"""

from runner.adapters.doctor.ask import ask
from runner.adapters.doctor.callback_port import CallbackPort
from runner.adapters.doctor.wanted import wanted
from runner.core.doctor.facts import Join, Machine
from runner.core.doctor.judge import judge, not_from_here

__all__ = ["CallbackPort", "Join", "Machine", "ask", "judge", "not_from_here", "wanted"]
