"""Which supervisor serves each host, as far as the log shows.

Belongs here: their incarnations and when each spoke last. Must not know units.
"""


class Supervisors:
    """The supervisors of one run."""

    def __init__(self) -> None:
        self._serving: dict[str, int] = {}
        """Host -> the incarnation of its supervisor."""
        self._spoke_ns: dict[str, int] = {}
        """Host -> stamp of the last event of its supervisor."""

    def serve(self, host: str, incarnation: int) -> bool:
        """This incarnation says that it serves. Returns whether it takes the place of another one."""
        before = self._serving.get(host, incarnation)
        self._serving[host] = incarnation
        return before != incarnation

    def spoke(self, host: str, stamp_ns: int) -> None:
        """The host's supervisor has emitted an event."""
        self._spoke_ns[host] = stamp_ns

    def serves(self, host: str, incarnation: int | None = None) -> bool:
        """Whether a supervisor, or this incarnation of it, serves the host."""
        serving = self._serving.get(host)
        return serving is not None and incarnation in (None, serving)

    def last_spoke_ns(self, host: str, default_ns: int) -> int:
        """When the host's supervisor spoke last; `default_ns` if it never did."""
        return self._spoke_ns.get(host, default_ns)
