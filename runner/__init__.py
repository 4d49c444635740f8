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
    from runner.adapters.actors.processes import ProcessStarter as ProcessStarter
    from runner.adapters.actors.tasks import TaskStarter as TaskStarter
    from runner.adapters.actors.threads import ThreadStarter as ThreadStarter
    from runner.api import load as load
    from runner.api import run as run
    from runner.api import verify as verify
    from runner.model.errors import CircuitRunError as CircuitRunError
    from runner.model.errors import OrderError as OrderError
    from runner.model.result.result import Finding as Finding
    from runner.model.result.result import Result as Result
    from runner.model.result.result import Verdict as Verdict
    from runner.model.scenario.model import Scenario as Scenario
    from runner.session.conductor import Conductor as Conductor

_MODULES = {
    "CircuitRunError": "runner.model.errors",
    "Conductor": "runner.session.conductor",
    "Finding": "runner.model.result.result",
    "OrderError": "runner.model.errors",
    "ProcessStarter": "runner.adapters.actors.processes",
    "Result": "runner.model.result.result",
    "Scenario": "runner.model.scenario.model",
    "TaskStarter": "runner.adapters.actors.tasks",
    "ThreadStarter": "runner.adapters.actors.threads",
    "Verdict": "runner.model.result.result",
    "load": "runner.api",
    "run": "runner.api",
    "verify": "runner.api",
}
"""Public names, and where each is; what is imported above for type checkers is the same."""
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for: every process of a unit imports this package."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
