"""Which lines of a text log can fit a rule at all: found by one pass over many, before any of them is a record.

Most lines of most logs are of no interest. What is found here is tried by the rules as any other line is.
"""

from controltower.collector.redaction.linear import ExpressionError, Lines, escaped
from controltower.collector.scrapers.definition import End, LineSource, Rule
from controltower.collector.scrapers.log_formats import LINE

Found = tuple[int, bytes]
"""Where a line begins, and the line."""


class Sieve:
    """Finds the lines that can fit a rule."""

    def __init__(self, expressions: list[str]) -> None:
        """Raises ExpressionError and ValueError as `Lines` does."""
        self._lines = Lines(expressions)

    @staticmethod
    def takes(data: bytes, encoding: str) -> bool:
        """Whether lines can be told by their ends of line alone: nothing is empty, to be cut off, or no text."""
        if data[:1] == b"\n" or b"\n\n" in data or b"\r" in data or b"\0" in data:
            return False
        if data.isascii():
            return True
        if encoding != "utf-8":
            return False
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True

    def lines(self, data: bytes, most: int) -> tuple[list[Found], int]:
        """Return the first *most* lines that can fit, and the end of what was looked at: of *data*, or of the last one."""
        found: list[Found] = []
        length, begin = len(data), 0
        while begin < length and len(found) < most:
            place = self._lines.find(data, begin)
            if place < 0 or (place == length and data[-1:] == b"\n"):
                return found, length
            first = data.rfind(b"\n", begin, place) + 1 or begin
            last = data.find(b"\n", place)
            last = length if last < 0 else last
            found.append((first, data[first:last]))
            begin = min(last + 1, length)
        return found, begin


def sieve_of(source: LineSource) -> Sieve | None:
    """Return what tells the lines that can fit a rule of *source*; None when any line can, or must be read to be told."""
    if source.only:
        return Sieve([source.only])
    if source.format != "text":
        return None  # a line that does not have the form is rejected, whatever rules say
    sides: list[Rule | End] = [side for rule in source.rules for side in (rule, rule.end) if side is not None]
    expressions = [_expression(side) for side in sides]
    if None in expressions:
        return None
    try:
        return Sieve([each for each in expressions if each is not None])
    except (ExpressionError, ValueError):
        return None  # then lines are looked at one by one, as slow as that is


def _expression(side: Rule | End) -> str | None:
    if LINE in side.when:
        return f"^{escaped(side.when[LINE])}$"
    return side.match.get(LINE)
