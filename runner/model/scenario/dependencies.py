"""The order that "starts after" asks for, and the cycles that make it impossible.

Belongs here: names and relations between them. Must not know what is started.
"""

from collections.abc import Mapping, Sequence


def cycles(after: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Cycles in "name -> names it starts after", each once, written from its first name on."""
    found: list[tuple[str, ...]] = []
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            found.append(way[way.index(name) :])
        elif name not in done:
            for other in after.get(name, ()):
                follow(other, (*way, name))
            done.add(name)

    for name in after:
        follow(name, ())
    return found


def in_order(names: Sequence[str], after: Mapping[str, Sequence[str]]) -> list[str]:
    """`names` as they stand, but each behind those of them that it starts after; cycles are cut somewhere."""
    placed: dict[str, None] = {}

    def place(name: str, way: tuple[str, ...] = ()) -> None:
        for other in after.get(name, ()):
            if other in names and other not in placed and other not in way:
                place(other, (*way, name))
        placed.setdefault(name)

    for name in names:
        place(name)
    return list(placed)
