"""What the patterns of a policy find in a text, and what stands there instead, as expressions of the engine."""

import re
from collections.abc import Sequence
from typing import Final

from controltower.store.conditions import all_of, any_of
from controltower.store.redaction import literal, literals, whole

LONGEST_SHAPED: Final = 256
LEAST_HIDDEN: Final = 16
BASE64_RUN: Final = f"[A-Za-z0-9+/_-]{{{LEAST_HIDDEN},}}={{0,2}}"
BASE64_MASK: Final = "[base64]"

# What looks for the ends of a whole text, which are not those of a line.
_ENDS_OF_TEXT: Final = re.compile(r"\\[Az]|\(\?[a-zA-Z]*-?[a-zA-Z]*m")
_CLASS: Final = re.compile(r"((?<!\\)\[\^?\]?(?:\\.|\[:[a-z^]+:\]|[^\]\\])*\])")
_COUNTED: Final = re.compile(r"(?<!\\)\{([0-9]+),([0-9]{2,})\}")


class Search:
    """Expressions that look for patterns; without patterns nothing is ever found."""

    def __init__(self, patterns: Sequence[tuple[str, str]], rules: Sequence[str]) -> None:
        self._patterns = patterns
        self._rules = rules
        self.any_pattern = literal("|".join(f"(?:{find})" for find, _ in patterns))
        self._any_line = literal("(?m)" + "|".join(f"(?:{loosened(find)})" for find, _ in patterns))
        self._by_line = not any(_ENDS_OF_TEXT.search(find) for find, _ in patterns)

    def in_lines(self, names: str, text: str) -> str:
        """Return whether a pattern may find something in a line of *names* or *text*: in any case when it does.

        Many texts are searched as the lines of one, in a fraction of the time. What is found from one line into the
        next, or in more characters than a pattern allows, is found for nothing: the row is then looked at in parts.
        A run of base64 in *text* is decoded and searched as one more line.
        """
        if not self._patterns:
            return "false"
        if not self._by_line:
            return "true"
        decoded = (
            f"arrayStringConcat(arrayMap(run -> {_decoded('run')}, extractAll(text, {literal(BASE64_RUN)})), '\\n')"
        )
        # In a function of an array, so that the expression is not compiled for the analysis, which has no rows.
        return f"arrayExists(text -> match(concat({names}, '\\n', text, '\\n', {decoded}), {self._any_line}), [{text}])"

    def finds(self, text: str) -> str:
        """Return whether a pattern finds something in *text*, as it stands or in the base64 in it."""
        return any_of(self.plainly(text), self._hidden(text)) if self._patterns else "false"

    def plainly(self, text: str) -> str:
        """Return whether a pattern finds something in *text* as it stands."""
        return f"match({text}, any_pattern)" if self._patterns else "false"

    def rules(self, text: str, masked: str) -> str:
        """Return the names of the masks that stand in *masked* and not in *text*."""
        labels = literals(f"[{name}]" for name in self._rules)
        more = f"countSubstrings({masked}, label) > countSubstrings({text}, label)"
        return f"arrayMap(label -> trim(BOTH '[]' FROM label), arrayFilter(label -> {more}, [{labels}]))"

    def masked(self, text: str) -> str:
        """Return *text* without what the patterns find."""
        for find, mask in self._patterns:
            text = f"replaceRegexpAll({text}, {literal(find)}, {literal(mask)})"
        runs = literal(BASE64_RUN)
        return f"arrayMap(m -> if({self._hidden('m')}, replaceRegexpAll(m, {runs}, {literal(BASE64_MASK)}), m), [{text}])[1]"

    def fits(self, text: str, shape: str) -> str:
        """Return whether *text* has a shape and holds nothing to be masked."""
        return all_of(
            f"length({text}) <= {LONGEST_SHAPED}", f"match({text}, {whole(shape)})", f"NOT {self.finds(text)}"
        )

    def _hidden(self, text: str) -> str:
        if not self._patterns:
            return "false"
        runs = f"extractAll({text}, {literal(BASE64_RUN)})"
        found = f"arrayExists(run -> match({_decoded('run')}, any_pattern), {runs})"
        return all_of(f"length({text}) >= {LEAST_HIDDEN}", found)


def _decoded(run: str) -> str:
    plain = f"translate(trimRight({run}, '='), '-_', '+/')"
    return f"tryBase64Decode(concat({plain}, substring('===', 1, (4 - length({plain}) % 4) % 4)))"


def loosened(find: str) -> str:
    """Return an expression that finds what *find* does, and more: one that counts far is dear to compile and to run."""
    return "".join(part if part.startswith("[") else _COUNTED.sub(_uncounted, part) for part in _CLASS.split(find))


def _uncounted(found: "re.Match[str]") -> str:
    return {"0": "*", "1": "+"}.get(found[1], f"{{{found[1]},}}")
