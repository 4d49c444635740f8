"""Why a runner ended units, guessed from its orders: logs of earlier runners have no Settled and no Interrupted.

Belongs here: that guess, and when it is not needed. What newer logs say is read plainly (`replay`).
"""

from collections.abc import Iterable

from probe.message import Finish, Stop
from runner.core.lifecycle.lifecycle import Lifecycle
from runner.model.orders import Directed


class EndGuess:
    """Follows the orders of one log. The lifecycle wants to stop some units itself; if the runner stops another one,
    the circuits were settled (when only services were left), or a person interrupted the run."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._explained = False
        self._to_stop: set[str] = set()
        """Units that the lifecycle wants to stop, for reasons that are in the log."""

    def explained(self) -> None:
        """The log says itself why the run ended: nothing is guessed from here on."""
        self._explained = True

    def wanted(self, orders: Iterable[Directed]) -> None:
        """Orders that the lifecycle gives itself."""
        self._to_stop.update(directed.order.unit for directed in orders if isinstance(directed.order, Stop))

    def follow(self, order: Stop | Finish) -> bool:
        """The runner has given this order. Whether that has changed the lifecycle."""
        if self._explained:
            return False
        unit = order.unit if isinstance(order, Stop) else None
        guess = not self._lifecycle.units.over and unit not in self._to_stop
        if guess:
            if self._lifecycle.units.idle:
                self._lifecycle.settled()
            else:
                self._lifecycle.interrupt()
        return guess

    def forget(self, order: Stop | Finish) -> None:
        """The order is obeyed."""
        if not self._explained and isinstance(order, Stop):
            self._to_stop.discard(order.unit)
