"""Text from outside, made harmless before it is printed: names that units and users chose, what brokers, other programs
and files say.

Belongs here: which characters may reach a terminal. Whatever prints in this project prints what went through here. Must
stay light: nothing is imported before there is something to make harmless.
"""

from functools import lru_cache
from typing import Final

_NAME: Final = 200
"""Names come back in every frame, lines of output do not."""


def clean(text: str) -> str:
    """`text` on one line and harmless: control characters, escape sequences and direction marks are shown as "�", a tab
    as a blank, a line end as "⏎"."""
    if text.isascii() and text.isprintable():
        return text
    return _cleaned_name(text) if len(text) <= _NAME else _cleaned(text)


def harmless(text: str) -> str:
    """The same for a message of several lines, which stay."""
    return "\n".join(map(clean, text.split("\n")))


def _cleaned(text: str) -> str:
    return "".join(_harmless(character) for character in text)


_cleaned_name = lru_cache(4096)(_cleaned)


def _harmless(character: str) -> str:
    if character == "\t":
        return " "
    if character == "\n":
        return "⏎"
    if character.isprintable() or character == "\u3000":
        # Joiners and variation selectors change the width of what stands before them, differently in every terminal.
        return "" if "\ufe00" <= character <= "\ufe0f" else character
    import unicodedata

    return " " if unicodedata.category(character) == "Zs" else "�"
