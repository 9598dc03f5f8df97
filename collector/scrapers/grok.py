r"""Grok: names for expressions that many logs have in common, such as ``%{TIMESTAMP_ISO8601:at}``.

A pattern becomes the RE2 that it stands for before anything else sees it, so it is as quick as one that was written out.
The libraries for it (pygrok, python-grok) had no release since 2021, and match by backtracking: a line could hold all others up.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final

from controltower.collector.scrapers.packs import grok_patterns

DEEPEST: Final = 20  # patterns within patterns; those that ship need five
LONGEST: Final = 40_000  # characters of an expression with all patterns written out; COMBINEDAPACHELOG has 3,000
TYPES: Final = ("int", "long", "float", "double", "string")
"""What may stand behind a field. A number stays the text it is, because money is never a float."""

_PLACE: Final = re.compile(r"%\{([^{}]*)\}")
_WRITTEN: Final = re.compile(r"(?P<name>\w+)(?::(?P<field>[A-Za-z_]\w*)(?::(?P<type>\w+))?)?", re.ASCII)

NOTHING: Final[Mapping[str, str]] = {}


def expanded(text: str, own: Mapping[str, str] = NOTHING) -> str:
    """Return *text* with its patterns written out, those of *own* before those that ship.

    ValueError says what is wrong: a name that is none, a field that cannot be, patterns that are made of themselves.
    """
    if "%{" not in text:
        return text
    return _expanded(text, {**known(), **own} if own else known(), ())


def own_expanded(text: str, own: Mapping[str, str]) -> str:
    """Return *text* with the patterns of *own* written out; others stay for `expanded`."""
    return _PLACE.sub(lambda found: expanded(found[0], own) if _name(found) in own else found[0], text)


def _name(found: re.Match[str]) -> str:
    return found[1].partition(":")[0]


def _expanded(text: str, patterns: Mapping[str, str], within: tuple[str, ...]) -> str:
    made = _PLACE.sub(lambda found: _one(found[1], patterns, within), text)
    if len(made) > LONGEST:
        raise ValueError(f"has more than {LONGEST:,} characters with its patterns written out")
    return made


def _one(written: str, patterns: Mapping[str, str], within: tuple[str, ...]) -> str:
    parts = _WRITTEN.fullmatch(written)
    if parts is None:
        raise ValueError(
            f"%{{{written}}} is no pattern: write %{{NAME}} or %{{NAME:field}}, the field of a-z, 0-9 and _"
        )
    name, field, type_ = parts["name"], parts["field"], parts["type"]
    if name not in patterns:
        near = get_close_matches(name, patterns, n=3)
        hint = f"meant is {' or '.join(near)}?" if near else "`controltower scrape show grok` lists those that are"
        raise ValueError(f"there is no pattern {name}; {hint}")
    if type_ and type_ not in TYPES:
        raise ValueError(f"%{{{written}}}: {type_} is none of {', '.join(TYPES)}")
    if name in within or len(within) == DEEPEST:
        raise ValueError(f"the pattern {name} is made of itself")
    inner = _expanded(patterns[name], patterns, (*within, name))
    return f"(?P<{field}>{inner})" if field else f"(?:{inner})"


@cache
def known() -> Mapping[str, str]:
    """Return the patterns that ship, by name."""
    lines = (line.split(" ", 1) for line in grok_patterns().splitlines() if line and not line.startswith("#"))
    return dict(lines)
