"""Whether an expression can be found in a text of some characters only: what cannot need not be looked for there."""

import re
from collections.abc import Callable, Iterable
from re import IGNORECASE, _parser, error  # type: ignore[attr-defined]  # the parser of the standard library, published under no other name
from typing import Any, Final

# What RE2 reads otherwise than Python's parser, without a refusal.
_OTHERWISE: Final = re.compile(r"\[:\^?[a-z]+:\]")


def reaches(find: str, characters: str) -> bool:
    """Whether the expression *find* may match something in a text of *characters* only.

    An expression that is not understood may. Counts, order and what stands beside a match are not looked at, so that
    "may" can be said of an expression that never does, and "never" is certain.
    """
    if _OTHERWISE.search(find):
        return True
    try:
        parsed = _parser.parse(find)
    except (error, OverflowError, RecursionError):
        return True
    return _all(parsed, frozenset(characters), bool(parsed.state.flags & IGNORECASE))


def _all(items: Iterable[tuple[Any, Any]], characters: frozenset[str], fold: bool) -> bool:
    return all(_one(str(kind), of, characters, fold) for kind, of in items)


def _one(kind: str, of: Any, characters: frozenset[str], fold: bool) -> bool:
    match kind:
        case "LITERAL":
            return _has(lambda code: code == of, characters, fold)
        case "IN":
            return _in(of, characters, fold)
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, _, repeated = of
            return least == 0 or _all(repeated, characters, fold)
        case "SUBPATTERN":
            _, added, removed, inner = of
            return _all(inner, characters, (fold or bool(added & IGNORECASE)) and not removed & IGNORECASE)
        case "BRANCH":
            return any(_all(branch, characters, fold) for branch in of[1])
        case _:  # the ends of words and texts, any character, and what only Python has
            return True


def _in(members: Iterable[tuple[Any, Any]], characters: frozenset[str], fold: bool) -> bool:
    return any(_member(str(kind), of, characters, fold) for kind, of in members)


def _member(kind: str, of: Any, characters: frozenset[str], fold: bool) -> bool:
    match kind:
        case "LITERAL":
            return _has(lambda code: code == of, characters, fold)
        case "RANGE":
            return _has(lambda code: of[0] <= code <= of[1], characters, fold)
        case "CATEGORY" if str(of) == "CATEGORY_DIGIT":
            return any(char.isdigit() for char in characters)
        case "CATEGORY" if str(of) == "CATEGORY_SPACE":
            return any(char.isspace() for char in characters)
        case _:  # other categories, and everything but some
            return True


def _has(holds: Callable[[int], bool], characters: frozenset[str], fold: bool) -> bool:
    both = {*characters, *(char.swapcase() for char in characters)} if fold else characters
    return any(holds(ord(char)) for char in both)
