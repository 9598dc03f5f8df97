"""Regular expressions whose search is linear in the text (RE2), on bytes of any kind."""

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

import re2

_RE2: Final[Any] = re2  # published without types

_ANYWHERE: Final[Any] = _RE2._re2.RE2.Anchor.UNANCHORED

# Of the automaton of many expressions; with less memory the expressions are tried one by one.
_BEYOND: Final = re.compile(r"\\[AzZC]|\(\?[a-zA-Z]*-")  # the ends of the text, any byte, flags that are taken back

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
        self._named = tuple(self.numbers.items())
        self._match: Any = compiled._regexp.Match

    def find(self, text: bytes) -> Sequence[tuple[int, int]] | None:
        """Return where the whole and each group lie, -1 for a group that is not there; None when it is not found."""
        spans: Sequence[tuple[int, int]] = self._match(_ANYWHERE, text, 0, len(text))
        return spans if spans[0][0] >= 0 else None

    def named(self, text: str) -> dict[str, str] | None:
        """Return what each group of a name found, none that is not there; None when it is not found."""
        encoded = text.encode()
        spans: Sequence[tuple[int, int]] = self._match(_ANYWHERE, encoded, 0, len(encoded))
        if spans[0][0] < 0:
            return None
        found: dict[str, str] = {}
        whole = text if len(text) == len(encoded) else None  # a byte for each character: it is cut out of the text
        for name, number in self._named:
            begin, end = spans[number]
            if begin >= 0:
                found[name] = encoded[begin:end].decode() if whole is None else whole[begin:end]
        return found


class Lines:
    """Where the next line begins in which any of some expressions is found: one pass over many lines.

    Each expression is as for a line by itself: ``^`` and ``$`` are its ends, and nothing reaches beyond it.
    """

    def __init__(self, expressions: Sequence[str]) -> None:
        """Raises ExpressionError; ValueError for an expression that may mean the ends of all lines together."""
        if any(_BEYOND.search(each) for each in expressions):
            raise ValueError("is about the whole text, and not about lines: write ^ and $, and take no flags back")
        options = _options()
        options.never_nl = True  # whatever a class of characters holds
        options.never_capture = True
        union = "(?m)" + "|".join(f"(?:{each})" for each in expressions)
        try:
            self._match: Any = _RE2.compile(union.encode(), options)._regexp.Match
        except _RE2.error as exc:  # too large together
            raise ExpressionError(str(exc)) from None

    def find(self, text: bytes, begin: int) -> int:
        """Return a place in the next such line from *begin* on, which is where a line begins; -1 when there is none."""
        place: int = self._match(_ANYWHERE, text, begin, len(text))[0][0]
        return place


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
