"""The sentences of a helpful mistake: what was meant, what was found.

Belongs here: wording that several readers share. Must not know which file or key it is used for.
"""

import datetime
import json
from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `name`: '; did you mean "after"?', else '; known: a, b', else ''."""
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    if close := get_close_matches(name.lower(), by_lower, n=1):
        return f'; did you mean "{by_lower[close[0]]}"?'
    return f"; known: {', '.join(names)}" if names else ""


def found(value: object) -> str:
    """What a TOML value is, with its article: 'an integer 5', 'a string "x"', 'an array'."""
    match value:
        case bool():
            return f"a boolean {json.dumps(value)}"
        case int():
            return f"an integer {value}"
        case float():
            return f"a float {value}"
        case str():
            return f"a string {json.dumps(value, ensure_ascii=False)}"
        case list():
            return "an array" if value else "an empty array"
        case dict():
            return "a table" if value else "an empty table"
        case datetime.date() | datetime.time():
            return f"a date or time {value}"
    return type(value).__name__


def expected(what: str, value: object) -> str:
    """The sentence for a value of the wrong type."""
    return f"expected {what}, found {found(value)}"
