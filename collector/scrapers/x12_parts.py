"""Sets that tell of many things, a part each: the claims of an 837 and an 835, their statuses, the sets of a 997.

A part keeps what stands around all parts, and the levels of the hierarchy above it.
"""

from collections.abc import Iterator, Sequence
from typing import AnyStr, Final, NamedTuple

LEVEL: Final = "HL"


class Parts(NamedTuple):
    """How the parts of a set begin, where the last one ends, and whether the set as a whole is told of, too."""

    begins: str
    ends: frozenset[str]
    whole: bool = False


PARTS: Final = {
    "997": Parts("AK2", frozenset(("AK9",))),
    "999": Parts("AK2", frozenset(("AK9",))),
    "837": Parts("CLM", frozenset((LEVEL,))),
    "835": Parts("CLP", frozenset(("LX", "PLB")), whole=True),
    "277": Parts("TRN", frozenset((LEVEL,))),
    "276": Parts("TRN", frozenset((LEVEL,))),
}
_TAIL: Final = frozenset(("AK9", "PLB", "SE"))


class Part(NamedTuple):
    """Which segments of a set one part has: those around it, and its own."""

    before: tuple[range, ...]
    own: range
    behind: range

    def of(self, segments: Sequence[list[AnyStr]]) -> list[list[AnyStr]]:
        """Return its segments."""
        return [segments[at] for each in (*self.before, self.own, self.behind) for at in each]


def parts_of(set_id: str, names: Sequence[str], parents: Sequence[str], numbers: Sequence[str]) -> Iterator[Part]:
    """Yield the parts of a set, none for one that is not of many.

    *names* are those of its segments; of a level, *numbers* is its own number and *parents* that of the one above.
    """
    kind = PARTS.get(set_id)
    if kind is None:
        return
    starts = [at for at, name in enumerate(names) if name in (kind.begins, LEVEL)]
    if not starts or kind.begins not in names:
        return
    first = next(at for at, name in enumerate(names) if name in (kind.begins, LEVEL, *(kind.ends - _TAIL)))
    tail = next((at for at, name in enumerate(names) if at > first and name in _TAIL), len(names))
    chain: dict[str, tuple[range, ...]] = {}
    levels: tuple[range, ...] = ()
    between: tuple[range, ...] = ()
    at = first
    while at < tail:
        name = names[at]
        end = next((n for n in range(at + 1, tail) if names[n] == kind.begins or names[n] in kind.ends), tail)
        if name == LEVEL:
            levels = (*chain.get(parents[at], ()), range(at, end))
            chain[numbers[at]] = levels
        elif name == kind.begins:
            yield Part((range(first), *levels, *between), range(at, end), range(tail, len(names)))
        else:  # LX of an 835: of the claims that follow
            between = (range(at, end),)
        at = end


def begin_of_part(segments: Sequence[Sequence[str]], begins: str) -> tuple[int, int]:
    """Return where the own segments of a part begin and end among those that stand in its record."""
    names = [segment[0] for segment in segments]
    begin = len(names) - 1 - names[::-1].index(begins)
    end = next((at for at in range(begin, len(names)) if names[at] in _TAIL), len(names))
    return begin, end
