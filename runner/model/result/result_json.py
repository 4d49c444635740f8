"""`Result` <-> `result.json`, schema 1.

Belongs here: the contract's field names. Must not know where the file is or how a result comes about.
"""

import json
import re
from typing import Any, Final

import msgspec

from runner.model.errors import RecordingError
from runner.model.result.result import Latency, Result

SCHEMA: Final = 1
_OBEYED: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys and JSON does not escape, and what of a path is no text."""


def dump(result: Result) -> str:
    """The text of `result.json`."""
    text = json.dumps(plain(result), indent=2, ensure_ascii=False)
    return _OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text) + "\n"


def plain(result: Result) -> dict[str, Any]:
    """The result as it stands in `result.json`, as plain dicts and lists."""
    found = msgspec.to_builtins(result)
    found["required"] = {
        which: [{"unit": unit, "step": step} for unit, step in pairs] for which, pairs in found["required"].items()
    }
    found["pairs"]["latency"] = _latency(result.pairs.latency)
    found["findings"] = [{"class": finding.pop("cls"), **finding} for finding in found["findings"]]
    for circuit, written in zip(result.circuits, found["circuits"], strict=True):
        written["latency"] = _latency(circuit.latency)
        written["hops"] = [{"from": hop.source, "to": hop.target, **_latency(hop.latency)} for hop in circuit.hops]
    return {"schema": SCHEMA, **found}


def load(text: str, where: str) -> Result:
    """The result in `text`; `where` names the file in the RecordingError that a damaged one raises."""
    try:
        plain = json.loads(text)
        if plain["schema"] != SCHEMA:
            raise RecordingError(f"{where} has schema {plain['schema']}; this version reads schema {SCHEMA}")
        plain["required"] = {
            which: [(probe["unit"], probe["step"]) for probe in probes] for which, probes in plain["required"].items()
        }
        plain["findings"] = [{"cls": finding.pop("class"), **finding} for finding in plain["findings"]]
        for circuit in plain["circuits"]:
            circuit["hops"] = [
                {"source": hop.pop("from"), "target": hop.pop("to"), "latency": hop} for hop in circuit["hops"]
            ]
        return msgspec.convert(plain, Result)
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise RecordingError(f"{where} is not a result of this tool: {error}") from None


def _latency(latency: Latency) -> dict[str, Any]:
    """As in the contract, with the error of each quantile beside it; the picture of the distribution is left out."""
    plain: dict[str, Any] = msgspec.to_builtins(latency)
    del plain["bars"]
    return plain | {
        "p50_error_ns": latency.p50_error_ns,
        "p90_error_ns": latency.p90_error_ns,
        "p99_error_ns": latency.p99_error_ns,
        "max_error_ns": latency.max_error_ns,
    }
