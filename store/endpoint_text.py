"""The text of a request: where the data of an INSERT begins, where the result's format stands, how values are quoted."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from controltower.store.statements import Token, split, tokens

DEFAULT_FORMAT: Final = "TSV"
_ANSWER_OF_NAME: Final = re.compile(
    r"""(?P<kind>DESCRIBE|EXISTS|SHOW\ CREATE)\ (?P<what>(TEMPORARY\ )?(TABLE|VIEW|DICTIONARY|DATABASE))\ (?P<rest>.+)""",
    re.VERBOSE | re.DOTALL,
)
_ANSWER_WITHOUT_NAME: Final = re.compile(r"SHOW (?P<what>PROCESSLIST|FUNCTIONS)(?P<rest>.*)", re.DOTALL)
_KINDS: Final = {"DESCRIBE": "Describe", "EXISTS": "Exists", "SHOW CREATE": "ShowCreate"}


@dataclass(frozen=True, slots=True)
class InsertHead:
    """The statement of an INSERT whose data follows: the statement, its target without the format, and where data is."""

    statement: str
    target: str
    format: str
    data_at: int


Unclear = Literal["more", "none"]


def insert_head(head: bytes, *, complete: bool) -> InsertHead | Unclear:
    """Find where the data of an INSERT begins.

    Returns ``none`` when *head* is no INSERT with data, and ``more`` when more bytes are needed to tell; with
    *complete* there are no more.
    """
    unclear: Unclear = "none" if complete else "more"
    text = head.decode("latin-1")  # positions stay positions of bytes
    previous: list[Token] = []
    depth = 0
    for token in tokens(text):
        if not previous and token.kind == "word" and token.text.upper() != "INSERT":
            return "none" if token.start + len(token.text) < len(text) else unclear
        if not previous and token.kind != "word":
            return "none"
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        word = token.text.upper() if token.kind == "word" and depth == 0 else ""
        if word in ("SELECT", "WITH", "INFILE"):
            return "none"  # a query behind the insert: all of it is text for the engine
        if word == "VALUES" and _may_be_clause(previous):
            return _values(head, text, token, complete=complete)
        if word and _is_format(previous):
            return _format(head, text, previous[-1], token, complete=complete)
        previous = [*previous[-3:], token]
    return unclear


def _is_format(previous: list[Token]) -> bool:
    """Whether the last word is the keyword, so that the next one names a format."""
    return bool(previous) and previous[-1].text.upper() == "FORMAT" and _may_be_clause(previous[:-1])


def _may_be_clause(previous: list[Token]) -> bool:
    """Whether the next word may be a clause: not the table's own name."""
    return bool(previous) and previous[-1].text.upper() not in ("INSERT", "INTO", "TABLE", "FUNCTION", ".")


def _values(head: bytes, text: str, token: Token, *, complete: bool) -> InsertHead | Unclear:
    end = token.start + len(token.text)
    if end >= len(text) and not complete:
        return "more"
    return InsertHead(_utf8(head[:end]), _utf8(head[: token.start]), "Values", end)


def _format(head: bytes, text: str, keyword: Token, name: Token, *, complete: bool) -> InsertHead | Unclear:
    end = name.start + len(name.text)
    line_end = re.compile(r";?[ \t\f]*\r?\n?").match(text, end)
    assert line_end is not None
    if line_end.end() >= len(text) and not complete:
        return "more"
    return InsertHead(_utf8(head[:end]), _utf8(head[: keyword.start]), name.text, line_end.end())


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def single(sql: str) -> str:
    """Return *sql* without what follows its one statement: a closing semicolon and comments behind it."""
    statements = split(sql)
    return statements[0] if len(statements) == 1 else sql


def with_output(sql: str, written_format: str | None, default_format: str) -> tuple[str, str]:
    """Return what stands before and after ``INTO OUTFILE 'path'`` so that the result of *sql* goes there.

    The clause stands before ``FORMAT name [SETTINGS …]``; *written_format* is what the syntax tree holds. Raises
    ValueError when that is not found.
    """
    if written_format is None:
        return f"{sql}\n", f" FORMAT {default_format}"
    at = _format_clause(sql, written_format)
    return f"{sql[:at]}\n", f" {sql[at:]}"


def into(before: str, path: str, after: str) -> str:
    """Return the statement whose result goes to *path*."""
    return f"{before}INTO OUTFILE {quote(path)} TRUNCATE{after}"


def _format_clause(sql: str, name: str) -> int:
    """Return where the last ``FORMAT name`` outside of brackets stands."""
    depth, found = 0, -1
    previous: Token | None = None
    for token in tokens(sql):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
        is_name = token.text.strip('`"') == name and token.kind in ("word", "name")
        if is_name and depth == 0 and previous is not None and previous.text.upper() == "FORMAT":
            found = previous.start
        previous = token
    if found < 0:
        raise ValueError(f"no FORMAT {name} in the statement")
    return found


def as_select(canonical: str) -> tuple[str, str] | None:
    """Return the kind of a statement that the tree's reader does not know, and a SELECT with the same names in it.

    *canonical* is the engine's own rewriting of the statement, so keywords and spaces are known.
    """
    if found := _ANSWER_OF_NAME.fullmatch(canonical.strip()):
        return _KINDS[found["kind"]], f"SELECT * FROM {found['rest']}"  # noqa: S608 - read by the gate, never run
    if found := _ANSWER_WITHOUT_NAME.fullmatch(canonical.strip()):
        return f"Show{found['what'].capitalize()}", f"SELECT 1 {found['rest']}"
    return None


def quote(value: str) -> str:
    """Return *value* as a string of SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def escape_parameter(value: str) -> str:
    """Return *value* as the text of a query parameter, which the engine reads as a tab-separated field."""
    escapes = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "'": "\\'"}
    return "".join(escapes.get(character, character) for character in value)
