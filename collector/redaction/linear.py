"""Regular expressions whose search is linear in the text (RE2), on bytes of any kind."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import re2

_RE2: Final[Any] = re2  # published without types

_ANYWHERE: Final[Any] = _RE2._re2.RE2.Anchor.UNANCHORED

# Of the automaton of many expressions; with less memory the expressions are tried one by one.
MEMORY_BYTES: Final = 64 * 1024 * 1024


class Found(Protocol):
    """A place where an expression was found."""

    def group(self, number: int = 0) -> bytes:
        """Return what was found, or one group of it."""


class Expression(Protocol):
    """A compiled expression."""

    groups: int

    def search(self, text: bytes) -> Found | None:
        """Find it anywhere."""

    def fullmatch(self, text: bytes) -> Found | None:
        """Find it as the whole text."""

    def finditer(self, text: bytes) -> Sequence[Found]:
        """Find it again and again."""

    def subn(self, instead: bytes, text: bytes) -> tuple[bytes, int]:
        r"""Return *text* with *instead* where it is found (``\1`` is the first group), and how often."""


class ExpressionError(ValueError):
    """A text is no regular expression of RE2."""


def expression(text: str, *, any_byte: bool = False) -> Expression:
    """Compile *text*; ExpressionError says what is wrong. With *any_byte* ``.`` is any byte, also no valid UTF-8."""
    options = _options()
    if any_byte:
        options.encoding = _RE2.Options.Encoding.LATIN1
        options.dot_nl = True
    try:
        compiled: Expression = _RE2.compile(text.encode("latin-1", "replace") if any_byte else text.encode(), options)
    except _RE2.error as exc:
        said = exc.args[0]
        raise ExpressionError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None
    return compiled


class Groups:
    """An expression whose named groups are wanted from very many texts.

    It asks RE2 itself: the match object of the library is made in Python, and costs four times the search.
    """

    def __init__(self, text: str) -> None:
        """Raises ExpressionError as `expression` does."""
        compiled: Any = expression(text)
        self.numbers: dict[str, int] = {name.decode(): number for name, number in compiled.groupindex.items()}
        """Name -> which of the spans that `find` returns."""
        self._match: Any = compiled._regexp.Match

    def find(self, text: bytes) -> Sequence[tuple[int, int]] | None:
        """Return where the whole and each group lie, -1 for a group that is not there; None when it is not found."""
        spans: Sequence[tuple[int, int]] = self._match(_ANYWHERE, text, 0, len(text))
        return spans if spans[0][0] >= 0 else None


def escaped(text: str) -> str:
    """Return the expression that finds *text* itself."""
    return str(_RE2.escape(text))


class Automaton:
    """Many expressions at once: which of them are found, in one pass over a text."""

    def __init__(self, expressions: Sequence[str]) -> None:
        self._set = _RE2.Set.SearchSet(_options())
        for each in expressions:
            self._set.Add(each.encode())
        self._set.Compile()
        self.found = self._set.Match
        """The numbers of the expressions that are found, in no order; none when the memory was not enough."""


def _options() -> Any:
    options = _RE2.Options()
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    return options
