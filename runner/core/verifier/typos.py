"""Names that are nearly the same.

Belongs here: how two words differ by one typo, and which steps a scenario names. Must not know events.
"""

from collections.abc import Collection
from difflib import get_close_matches

from runner.model.scenario.model import Scenario
from runner.model.scenario.path import probes_of


def typo(found: str, meant: str) -> str:
    """In words how `found` differs from `meant` by one typo: "swapped digits", "upper and lower case"; "": by more."""
    if found == meant:
        return ""
    if found.casefold() == meant.casefold():
        return "upper and lower case"
    if _bare(found) == _bare(meant):
        return "other signs between the words"
    if len(found) == len(meant):
        differ = [i for i, (one, other) in enumerate(zip(found, meant, strict=True)) if one != other]
        if len(differ) == 1:
            return "one character differs"
        if len(differ) == 2 and differ[1] == differ[0] + 1:
            one, other = differ
            if found[one] == meant[other] and found[other] == meant[one]:
                return "swapped digits" if found[one].isdigit() and found[other].isdigit() else "swapped letters"
        return ""
    short, long = sorted((found, meant), key=len)
    if len(long) == len(short) + 1 and any(long[:i] + long[i + 1 :] == short for i in range(len(long))):
        return "one character too many" if long is found else "one character is missing"
    return ""


def _bare(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def nearest(meant: str, known: Collection[str]) -> str | None:
    """The name of `known` that is most likely meant; None: none is near."""
    by_typo = next((name for name in sorted(known) if len(meant) > 2 and typo(name, meant)), None)
    if by_typo is not None:
        return by_typo
    close = get_close_matches(meant, sorted(known), n=1, cutoff=0.75)
    return close[0] if close else None


def named_steps(scenario: Scenario) -> frozenset[str]:
    """Every step that the scenario names anywhere."""
    names: set[str] = set()
    for unit in scenario.units:
        names.update(unit.expect)
        if unit.ready is not None:
            names.add(unit.ready)
    for circuit in scenario.circuits:
        names.update(probe.step for probe in circuit.never)
        names.update(probe.step for element in circuit.path for probe in probes_of(element))
    return frozenset(names)
