"""The first that a process of ours runs: from here on `probe`, `broker` and `runner` are our packages, whatever else
the import path has under these names.

    circuit-run ...                          the command
    python -P -m circuit_run MODULE ...      any other process of ours: `main` of MODULE, with the words that follow

Belongs here: nothing else, and no import that takes time. This name is found where one of the others is hidden.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Final

PROCESS: Final = (sys.executable, "-P", "-m", "circuit_run")
"""How another process of ours begins; the name of its module follows. `-P`: what lies where it runs hides nothing."""
NAMES: Final = frozenset({"probe", "broker", "runner"})
_HERE: Final = os.path.dirname(os.path.abspath(__file__))


class _Ours:
    """Finds our packages beside this file, before the import path is asked."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [_HERE]) if name in NAMES else None


def claim() -> None:
    """From now on the three names are ours."""
    if _Ours not in sys.meta_path:
        sys.meta_path.insert(0, _Ours)


def yield_names() -> None:
    """From now on they are what the import path says. What was imported stays."""
    if _Ours in sys.meta_path:
        sys.meta_path.remove(_Ours)


def command() -> None:
    """The command `circuit-run`. Never returns."""
    claim()
    from runner.__main__ import main

    main()


def process(words: Sequence[str]) -> None:
    """Run `main` of the module that the first word names, with the other words. Leaves with what it returns."""
    claim()
    try:
        sys.exit(importlib.import_module(words[0]).main(words[1:]))
    except (OSError, MemoryError, RuntimeError) as error:
        from probe import shortage

        if why := shortage.why(error):
            sys.exit(f"the process of {words[0]} {why}")
        raise


if __name__ == "__main__":
    from circuit_run import process as _process  # not the copy that is called __main__: others ask us by our name

    _process(sys.argv[1:])
