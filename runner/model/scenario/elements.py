"""The path of a circuit, from TOML to model: elements, what they may hold, and which paths have no meaning.

Belongs here: everything below `circuits.NAME.path` and `never`. Must not know the other keys of a circuit.
"""

import datetime
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

from runner.model.scenario.hints import expected, found
from runner.model.scenario.model import All, Element, Optional, Probe, Quorum
from runner.model.scenario.names import matching, unit_and_step
from runner.model.scenario.path import passable, probes_of
from runner.model.scenario.quantity import duration, times
from runner.model.scenario.toml_reader import Keys, TomlValue, string, table


def where(spot: TomlValue) -> dict[str, Any] | None:
    """Data fields and what they must be equal to."""
    if not isinstance(spot.value, dict) or not spot.value:
        spot.mistake(expected("a table of data fields such as { ok = true }", spot.value))
        return None
    for item in spot.items():
        if isinstance(item.value, (datetime.date, datetime.time)):
            item.mistake(f"cannot be equal to {found(item.value)}; data holds no dates, write it as the unit sends it")
    return dict(spot.value)


_WITHIN: Final[Keys] = {"within": ("within_ns", duration())}
_EVENT: Final[Keys] = {**_WITHIN, "times": ("times", times), "where": ("where", where), "rekey": ("rekey", string)}


class PathReader:
    """Reads the paths of one scenario, whose units are `units`."""

    def __init__(self, units: Sequence[str]) -> None:
        self._units = units
        self.forms: dict[str, Keys] = {
            "probe": {"probe": ("named", self._named), **_EVENT},
            "each": {"each": ("named", self._named), **_EVENT},
            "all": {"all": ("members", self._members), **_WITHIN},
            "any": {"any": ("members", self._members), **_WITHIN},
            "quorum": {"quorum": ("need", _need), "of": ("members", self._members), **_WITHIN},
            "optional": {"optional": ("content", self._member), **_WITHIN},
        }
        """The word that tells what an element is -> the keys that it may have."""
        self.never: Keys = {"probe": ("named", self._named), "where": ("where", where)}

    def path(self, spot: TomlValue) -> tuple[Element, ...] | None:
        """The elements; None (and recorded) when they cannot make a path."""
        if not isinstance(spot.value, list) or not spot.value:
            spot.mistake(expected('an array of probes such as ["api: order-sent", "worker: row-written"]', spot.value))
            return None
        before = len(spot.source.mistakes)
        read = [(item, element) for item in spot.items() if (element := self.element(item))]
        if read and read[0][0].path[-1] == 0:
            _check_first(*read[0])
        self._check_no_event_counts_twice(read)
        return tuple(element for _, element in read) if len(spot.source.mistakes) == before else None

    def forbidden(self, spot: TomlValue) -> Probe | None:
        """One entry of `never`: "unit: step", or { probe = ..., where = ... }."""
        if isinstance(spot.value, str):
            return self._probe({"named": self._named(spot)})
        return self._probe(table(spot, self.never, needed=("probe",)))

    def element(self, spot: TomlValue) -> Element | None:
        """Any element, as a string or a table."""
        if isinstance(spot.value, str):
            return self._probe({"named": self._named(spot)})
        if not isinstance(spot.value, dict):
            spot.mistake(
                expected('"unit: step" or a table such as { probe = "unit: step", within = "50ms" }', spot.value)
            )
            return None
        forms = [word for word in self.forms if word in spot.value]
        if len(forms) != 1:
            has = " and ".join(forms) or "none"
            spot.mistake(f"has {has} of {', '.join(self.forms)}; an element is exactly one of them")
            return None
        form = forms[0]
        fields = table(spot, self.forms[form], needed=self.forms[form].keys() & {form, "of"})
        within_ns = fields.get("within_ns")
        if form in ("probe", "each"):
            if "rekey" in fields and (form == "each" or fields.get("times", (1, 1)) != (1, 1)):
                spot.at("rekey").mistake("needs exactly one event to take the new key from; leave out each and times")
            return self._probe(fields, each=form == "each")
        if form == "optional":
            return Optional(fields["content"], within_ns) if "content" in fields else None
        if "members" not in fields:
            return None
        if form == "all":
            return All(fields["members"], within_ns)
        return _quorum(spot, form, Quorum(fields.get("need", 1), fields["members"], within_ns))

    # --- what the keys of an element hold -----------------------------------------------------------------------------

    def _named(self, spot: TomlValue) -> tuple[str, str] | None:
        return unit_and_step(spot, self._units)

    def _probe(self, fields: dict[str, Any], *, each: bool = False) -> Probe | None:
        if not (named := fields.pop("named", None)):
            return None
        at_least, at_most = fields.pop("times", (1, 1))
        return Probe(*named, **{**fields, "each": each, "at_least": at_least, "at_most": at_most})

    def _members(self, spot: TomlValue) -> tuple[Element, ...] | None:
        if not isinstance(spot.value, list) or not spot.value:
            spot.mistake(expected("an array with at least one member", spot.value))
            return None
        members = [self._member(item) for item in spot.items()]
        usable = tuple(member for member in members if member is not None)
        return usable if len(usable) == len(members) else None

    def _member(self, spot: TomlValue) -> Element | None:
        """An element inside a group."""
        if isinstance(spot.value, dict) and "within" in spot.value:
            spot.at("within").mistake("has no element before it inside a group; put it on the group")
        if isinstance(spot.value, dict) and "rekey" in spot.value:
            spot.at("rekey").mistake(
                "cannot stand inside a group; a journey changes its key at one element of the path"
            )
        return self.element(spot)

    # --- paths without meaning ----------------------------------------------------------------------------------------

    def _check_no_event_counts_twice(self, read: Sequence[tuple[TomlValue, Element]]) -> None:
        """One event can satisfy one element only, so no two probes may mean the same step of the same unit, unless
        their `where`s decide which of them an event is for."""
        placed = [(spot, probe) for spot, element in read for probe in probes_of(element)]
        for (_, earlier), (spot, later) in combinations(placed, 2):
            shared = matching(earlier.unit, self._units) & matching(later.unit, self._units)
            if earlier.step != later.step or not shared or _exclude_each_other(earlier, later):
                continue
            hint = ""
            if earlier.where or later.where:
                hint = "; tell two places apart by a where on one field, with different values"
            if str(earlier) == str(later):
                spot.mistake(
                    f'has "{later}", which stands in this path already; if it fires more often say times = "2"{hint}'
                )
            else:
                both = f"{min(shared)}: {later.step}"
                spot.mistake(
                    f'and "{earlier}" before it both mean "{both}"; one event can count in one place only{hint}'
                )


def _exclude_each_other(one: Probe, other: Probe) -> bool:
    """Whether their `where`s ask one field for different values, so that no event counts for both."""
    return any(field in other.where and other.where[field] != value for field, value in one.where.items())


def _need(spot: TomlValue) -> int | None:
    if type(spot.value) is int and spot.value >= 1:
        return spot.value
    spot.mistake(expected("a number of members, at least 1", spot.value))
    return None


def _quorum(spot: TomlValue, form: str, quorum: Quorum) -> Quorum:
    """The `any` or `quorum` at the spot, once it is seen to ask for something that can be and may not be."""
    if quorum.need > len(quorum.members):
        spot.at(form).mistake(f"asks for {quorum.need} members and there are {len(quorum.members)}; that can never be")
    if any(passable(member) for member in quorum.members):
        spot.mistake(f"has a member that may be skipped, which decides nothing in {form}; ask for it or drop it")
    return quorum


def _check_first(spot: TomlValue, element: Element) -> None:
    if passable(element):
        spot.mistake("is the first element and may be skipped; a path begins with a probe that must fire")
    if element.within_ns is not None:
        spot.at("within").mistake("counts from the element before, and the first has none; use the circuit's within")
