"""What the verifier keeps of one unit.

Belongs here: a small bounded record. Must not know what a route is or does.
"""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

RouteT = TypeVar("RouteT")

STEPS: Final = 4096
"""Steps of one unit that are remembered though the scenario does not ask for them."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a unit's own code has emitted so far."""

    events: int = 0
    last_step: str = ""
    last_stamp_ns: int | None = None
    malformed: int = 0
    """Records that were none."""


class UnitActivity(Generic[RouteT]):
    """One unit as the verifier sees it. `routes` has every step that it has fired."""

    __slots__ = ("events", "last_stamp_ns", "last_step", "malformed", "routes", "unit")

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.routes: dict[str, RouteT] = {}
        self.events = 0
        self.malformed = 0
        self.last_step = ""
        self.last_stamp_ns: int | None = None

    def remember(self, step: str, route: RouteT, *, always: bool) -> None:
        """Keep the route of a step. Of a unit that invents steps without end only the first ones are kept, and those
        that the scenario asks for (`always`)."""
        if always or len(self.routes) < STEPS:
            self.routes[step] = route

    def may_have_fired(self, step: str) -> bool:
        """Whether it has fired that probe, as far as is remembered."""
        return step in self.routes or len(self.routes) >= STEPS

    def activity(self) -> Activity:
        return Activity(self.events, self.last_step, self.last_stamp_ns, self.malformed)
