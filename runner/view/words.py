"""How a finding or a hop is called, wherever it is shown.

Belongs here: names made of values. Must not know layout.
"""

from collections.abc import Sequence

from runner.verifier.verdict import Finding, Hop
from runner.view.text import clean


def glyph(finding: Finding) -> str:
    """ "✗", or "?" where evidence is lacking."""
    return "?" if finding.inconclusive else "✗"


def subject(finding: Finding) -> str:
    """The finding's message, with its key or unit in front where the message names neither it nor its circuit."""
    about_circuit = finding.key is None and finding.circuit is not None and finding.circuit in finding.message.split()
    message, name = clean(finding.message), clean(finding.key or ("" if about_circuit else finding.unit) or "")
    return message if name in message else f"{name}: {message}"


def hop_names(hops: Sequence[Hop]) -> list[str]:
    """How the hops are called: "worker: row-written" is "row-written" as long as that is clear, all else as written."""
    targets = [clean(hop.target) for hop in hops]
    steps = [target if set(target) & set("{[,") else target.rpartition(": ")[2] for target in targets]
    return steps if len(set(steps)) == len(steps) else targets
