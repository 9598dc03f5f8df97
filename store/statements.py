"""Reading SQL text as the engine's lexer does: where strings, names and comments are, and where a statement ends."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

# Longest match first. Strings and quoted names know both escapes, backslash and doubling; an open one runs to the end.
_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*|\#[\ !][^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<string>'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<name>"(?:[^"\\]|\\.|"")*(?:"|\Z)|`(?:[^`\\]|\\.|``)*(?:`|\Z))
    | (?P<heredoc>\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d\w*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of a statement: its kind (``word``, ``string``, ``name``, ``end`` …), its text and its position."""

    kind: str
    text: str
    start: int


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of *sql*, without white space and comments."""
    for match in _TOKEN.finditer(sql):
        kind = str(match.lastgroup if match.lastgroup != "tag" else "heredoc")
        if kind not in ("space", "comment"):
            yield Token(kind, match.group(), match.start())


def split(sql: str) -> list[str]:
    """Return the statements of *sql*, without the semicolons between them, each with its own comments."""
    statements: list[str] = []
    start, meaningful = 0, False
    for token in tokens(sql):
        if token.kind == "end":
            if meaningful:
                statements.append(sql[start : token.start].strip())
            start, meaningful = token.start + 1, False
        else:
            meaningful = True
    if meaningful:
        statements.append(sql[start:].strip())
    return statements


def normal(sql: str) -> str:
    """Return *sql* without comments and with single spaces: equal for statements that mean the same text."""
    return " ".join(token.text for token in tokens(sql))
