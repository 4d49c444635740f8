"""Modules of the user that have the name of the package `probe`: in units it is ours, in programs it may be theirs.

Belongs here: finding them, and what is said of them. Must not know what units are.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import probe

_OURS = Path(probe.__file__).parent


def notes(folder: Path, import_path: Sequence[str]) -> tuple[str, ...]:
    """What is to be known of modules called `probe` in `folder`, the scenario's, and in the folders of PYTHONPATH."""
    folder = Path(os.path.abspath(folder))
    elsewhere = dict.fromkeys(Path(os.path.abspath(place)) for place in import_path if place)
    return (
        *(f"{found}: units import circuit-run's package `probe` instead; rename it" for found in _probe_in(folder)),
        *(
            f"{found}: programs import it instead of circuit-run's package `probe`, for its folder is on PYTHONPATH"
            for place in elsewhere
            if place != folder
            for found in _probe_in(place)
        ),
    )


def _probe_in(folder: Path) -> Iterator[Path]:
    package = folder / "probe"
    if (package / "__init__.py").is_file() and not package.samefile(_OURS):
        yield package
    if (folder / "probe.py").is_file():
        yield folder / "probe.py"
