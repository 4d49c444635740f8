"""`circuit-run`: starts the units of a scenario, lines them up, verifies what they say, keeps and shows it.

    runner.load(path)                 -> Scenario
    runner.run(path_or_scenario)      -> Result
    runner.verify(run, scenario=None) -> Result
    runner.Conductor(starters, order)    a prescribed order of checkpoints

are for tests, notebooks and tools (`api`); the rest of this package is its own business:

    cli        one file a command; errors -> exit codes
    api        the functions above
    session    one run from start to end; the only place where the parts below meet
    adapters   sockets, processes, files and screens
    core       what is decided: values in, values out
    model      the nouns: what a user declared, what came of it, orders, errors
    demo       the scenario of `circuit-run demo`
    launch     the name under which the supervisor is started over ssh, by every release

Imports go downwards in this list, or along `runner -> broker -> probe`; the rules are contracts in pyproject.toml.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.api import CircuitRunError as CircuitRunError
    from runner.api import Conductor as Conductor
    from runner.api import Finding as Finding
    from runner.api import OrderError as OrderError
    from runner.api import ProcessStarter as ProcessStarter
    from runner.api import Result as Result
    from runner.api import Scenario as Scenario
    from runner.api import TaskStarter as TaskStarter
    from runner.api import ThreadStarter as ThreadStarter
    from runner.api import Verdict as Verdict
    from runner.api import load as load
    from runner.api import run as run
    from runner.api import verify as verify

__all__ = [
    "CircuitRunError",
    "Conductor",
    "Finding",
    "OrderError",
    "ProcessStarter",
    "Result",
    "Scenario",
    "TaskStarter",
    "ThreadStarter",
    "Verdict",
    "load",
    "run",
    "verify",
]


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for: every process of a unit imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from runner import api

    return getattr(api, name)
