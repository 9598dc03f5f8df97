"""What happens to each attribute of a row: one letter for each name, decided once for each list of names.

Spans of one kind have the same names. The names of a row stand in one text, of which the engine makes a dictionary, so
the expressions below run a few times in a block of rows, not once for each name of each row.
"""

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import groupby
from typing import Final

from controltower.store.errors import RedactionError
from controltower.store.redaction import KEY_PREFIXES, PLAIN, Names, Redaction, Treatment, literal, literals, whole

START: Final = "\\x1e"
START_OF_LINE: Final = "\\x1d"  # of the name of an attribute of a document's line
END: Final = "\\x1f"
SEPARATORS: Final = "\\x1d\\x1e\\x1f"
OTHERWISE: Final = "\\x1c\\x1c\\x1c"  # what stands for these where a name holds them

_FIRST: Final = 0x30
_BACKSLASH: Final = 0x5C
MOST_SHAPES: Final = 33  # as many pairs of letters are left


class Kind(IntEnum):
    """What happens to an entry, as a number; shapes have those from the last on."""

    KEEP = 0
    DROP = 1
    TOKEN = 2
    MASK = 3
    MASK_OR_TOKEN = 4
    CLEAR = 5  # a text is emptied
    SHAPE = 6


def code(number: int, *, spelled: bool = True) -> int:
    """Return the letter of a number as its code: an odd one for a name that the policy does not spell out."""
    even = _FIRST + 2 * number
    return (even if even < _BACKSLASH else even + 2) + (not spelled)


def is_of(letter: str, *numbers: int) -> str:
    """Return whether *letter* is that of one of *numbers*, spelled out or not."""
    return f"{letter} IN ({', '.join(f'{code(n)}, {code(n, spelled=False)}' for n in numbers)})"


def unspelled(letter: str) -> str:
    """Return whether *letter* is that of a name that the policy does not spell out, which is looked at itself."""
    return f"({letter} % 2 = 1)"


def names_in_one(names: str, start: str = START) -> str:
    """Return the text in which each of *names* has a separator before and behind it."""
    joined = f"arrayStringConcat({names}, '{END}{start}')"
    return f"if(empty({names}), '', concat('{start}', {joined}, '{END}'))"


class Kinds:
    """Which letter an attribute's name has, and of which type its token is."""

    def __init__(self, redaction: Redaction) -> None:
        """Raise RedactionError when the policy has more shapes than there are letters for."""
        self.redaction = redaction
        both = (redaction.attributes, redaction.line)
        every = [t for names in both for t in (*names.exact.values(), *(t for _, t in names.expressions))]
        every += [redaction.unlisted, *redaction.texts.values()]
        shaped = ((each.shape, each.or_token) for each in every if each.action == "shape")
        self.shapes: list[tuple[str, bool]] = list(dict.fromkeys(shaped))
        if len(self.shapes) > MOST_SHAPES:
            raise RedactionError(
                f"The policy {redaction.name} version {redaction.version} uses {len(self.shapes)} shapes for sources "
                f"that are not phi, and the load knows {MOST_SHAPES} at most: use fewer."
            )

    def number(self, treatment: Treatment) -> int:
        """Return the number of what happens to an attribute."""
        if treatment.action == "shape":
            return Kind.SHAPE + self.shapes.index((treatment.shape, treatment.or_token))
        if treatment.action == "mask":
            return Kind.MASK_OR_TOKEN if treatment.or_token else Kind.MASK
        return {"keep": Kind.KEEP, "drop": Kind.DROP, "token": Kind.TOKEN}[treatment.action]

    def of_text(self, field: str) -> int:
        """Return the number of what happens to a text; one that the policy does not name is not listed."""
        treatment = self.redaction.texts.get(field, self.redaction.unlisted)
        return Kind.CLEAR if treatment.action == "drop" else self.number(treatment)

    def used(self) -> set[int]:
        """Return the numbers that an attribute can have."""
        named = (self.redaction.line, self.redaction.attributes)
        every = (t for names in named for t in (*names.exact.values(), *(t for _, t in names.expressions)))
        return {self.number(treatment) for treatment in (*every, self.redaction.unlisted)}

    def letters(self, joined: str) -> str:
        """Return the letters for names that stand in one text, each with its separators; an exact name comes first."""
        any_start = f"[{START_OF_LINE}{START}]"
        text = f"lower({joined})"
        for start, names in ((START_OF_LINE, self.redaction.line), (any_start, self.redaction.attributes)):
            for found, letter in self._steps(names):
                text = _replaced(text, f"{start}(?:{found}){END}", letter)
        return _replaced(text, f"{any_start}[^{END}]*{END}", code(self.number(self.redaction.unlisted), spelled=False))

    def unspelled(self, joined: str) -> str:
        """Return, as lines, the names in *joined* that the policy does not spell out: they are looked at themselves."""
        spelled = "|".join(
            re.escape(name) for names in (self.redaction.attributes, self.redaction.line) for name in names.exact
        )
        # Of a line or not: a name that only the other list spells out is as public as one that this list does.
        known = f"(?i:{spelled})|[{PLAIN}]*" if self.redaction.plain_names else f"(?i:{spelled})"
        left = f"replaceRegexpAll({joined}, {literal(f'[{START_OF_LINE}{START}](?:{known}){END}')}, '')"
        return f"translate({left}, '{SEPARATORS}', '\\n\\n\\n')"

    def _steps(self, names: Names) -> Iterator[tuple[str, int]]:
        """Yield expressions for names, and their letter, in the order in which they count."""
        exact: dict[int, list[str]] = {}
        for name, treatment in names.exact.items():
            exact.setdefault(self.number(treatment), []).append(re.escape(name))
        for number, found in exact.items():
            yield "|".join(found), code(number)
        for number, group in groupby(names.expressions, key=lambda pair: self.number(pair[1])):
            # Any characters of a glob are those of one name.
            yield "|".join(e.replace(".*", f"[^{END}]*") for e, _ in group), code(number, spelled=False)

    def type(self, key: str) -> str:
        """Return the key type of the attribute *key*: what the policy says, else the end of its name, else its name."""
        names = self.redaction.attributes
        exact: dict[str, list[str]] = {}
        for name, treatment in names.exact.items():
            if treatment.type and name not in (f"{prefix}{treatment.type}" for prefix in KEY_PREFIXES):
                exact.setdefault(treatment.type, []).append(name)
        branches = [f"{key} IN ({literals(found)}), {literal(type_)}" for type_, found in exact.items()]
        branches += [f"match({key}, {whole(e)}), {literal(t.type)}" for e, t in names.expressions if t.type]
        branches += [f"startsWith({key}, {literal(p)}), substring({key}, {len(p) + 1})" for p in KEY_PREFIXES]
        return f"multiIf({', '.join([*branches, key])})"


def shapes_of(kinds: Kinds, *, or_token: bool | None = None) -> Sequence[tuple[int, str]]:
    """Return number and expression of each shape; with *or_token* only of those that do, or do not, become a token."""
    numbered = enumerate(kinds.shapes, start=Kind.SHAPE)
    return [(number, shape) for number, (shape, token) in numbered if or_token in (None, token)]


def _replaced(text: str, found: str, letter: int) -> str:
    return f"replaceRegexpAll({text}, {literal(found)}, {literal(chr(letter))})"
