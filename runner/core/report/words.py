"""How a finding, a hop or a latency is called, wherever it is shown.

Belongs here: names made of values. Must not know layout.
"""

from collections.abc import Sequence

from runner.core.report.text import clean
from runner.model.result.interval import Interval, interval
from runner.model.result.result import CircuitResult, Finding, Hop, Latency


def glyph(finding: Finding) -> str:
    """ "✗", or "?" where evidence is lacking."""
    return "?" if finding.inconclusive else "✗"


def subject(finding: Finding) -> str:
    """The finding's message, with its key or unit in front where the message names neither it nor its circuit."""
    about_circuit = finding.key is None and finding.circuit is not None and finding.circuit in finding.message.split()
    message, name = clean(finding.message), clean(finding.key or ("" if about_circuit else finding.unit) or "")
    return message if name in message else f"{name}: {message}"


def losses(known: int, *, more: bool) -> str:
    """How many events are lost; `more`: others may be lost, and it is not known how many."""
    if known:
        return f"{known:,} lost, and maybe more" if more else f"{known:,} lost"
    return "some may be lost" if more else "none lost"


def beside_its_class(finding: Finding) -> str:
    """Its subject for a line that begins with the word of its class, without that word: "check: check m:f ..."."""
    return subject(finding).removeprefix(f"{finding.cls.value} ")


def measured(circuit: CircuitResult) -> Latency:
    """How long the whole way took; nothing where it is a single event, between which and itself no time passes."""
    return circuit.latency if circuit.hops or circuit.latency.max_ns else Latency()


def quantiles(latency: Latency) -> list[tuple[str, Interval]]:
    """The quantiles that are shown, each with its error."""
    return [
        ("p50", interval(latency.p50_ns, latency.p50_error_ns)),
        ("p99", interval(latency.p99_ns, latency.p99_error_ns)),
        ("max", interval(latency.max_ns, latency.max_error_ns)),
    ]


def hop_names(hops: Sequence[Hop]) -> list[str]:
    """How the hops are called: "worker: row-written" is "row-written" as long as that is clear, all else as written."""
    targets = [clean(hop.target) for hop in hops]
    steps = [target if set(target) & set("{[,") else target.rpartition(": ")[2] for target in targets]
    return steps if len(set(steps)) == len(steps) else targets
