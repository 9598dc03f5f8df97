"""HTML of the pages, built from escaped text only; pure.

Streamlit's own tables are drawn on a canvas: no links inside a row, no wrapping, nothing for a screen reader. These are
plain tables, styled in ``assets/style.css``. Text becomes HTML through ``escaped``; everything else is ``Html`` already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from controltower.dashboard.theme import colour

Align = Literal["left", "right", "center"]
Tone = Literal["", "good", "bad", "warn", "quiet"]


class Html(str):
    """Text that is HTML and safe to show."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its head, its side, and whether it keeps on one line."""

    head: str
    align: Align = "left"
    nowrap: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with its words; with an address it leads to what it counts."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""
    href: str = ""
    hint: str = ""


Cell = str | Html


def escaped(value: object) -> Html:
    """Return *value* as HTML; what is HTML already stays."""
    return value if isinstance(value, Html) else Html(escape(str(value), quote=True))


def joined(parts: Iterable[Cell], between: str = "") -> Html:
    """Return HTML parts in a row."""
    return Html(escaped(between).join(escaped(part) for part in parts))


def tag(name: str, *content: Cell, css: str = "", hint: str = "", style: str = "") -> Html:
    """Return one element. *name*, *css* and *style* are of the program, never of the data."""
    attributes = "".join(
        f' {key}="{escape(value, quote=True)}"'
        for key, value in (("class", css), ("title", hint), ("style", style))
        if value
    )
    return Html(f"<{name}{attributes}>{joined(content)}</{name}>")


def link(text: Cell, href: str, *, css: str = "", hint: str = "") -> Html:
    """Return a link that stays in this tab."""
    extra = f' class="{escape(css, quote=True)}"' if css else ""
    extra += f' title="{escape(hint, quote=True)}"' if hint else ""
    return Html(f'<a href="{escape(href, quote=True)}" target="_self"{extra}>{escaped(text)}</a>')


def badge(state: str, text: str = "") -> Html:
    """Return a state in its colour."""
    return tag("span", text or state, css="ct-badge", style=f"--state: {colour(state)}")


def chip(text: str, hint: str = "") -> Html:
    """Return a key or a name set apart from the words around it."""
    return tag("span", text, css="ct-chip", hint=hint)


def muted(text: Cell) -> Html:
    """Return text that steps back."""
    return tag("span", text, css="ct-muted")


def toned(text: Cell, tone: Tone, hint: str = "") -> Html:
    """Return text in the colour of good, bad or warning news."""
    return tag("span", text, css=f"ct-{tone}" if tone else "", hint=hint)


def two_lines(first: Cell, second: Cell) -> Html:
    """Return a line with a smaller one below it."""
    return joined((tag("div", first), tag("div", second, css="ct-sub")))


def share_bar(share: float, tone: Tone = "") -> Html:
    """Return a small bar that is filled to *share*, between 0 and 1."""
    width = min(max(share, 0.0), 1.0) * 100
    return tag(
        "span", tag("span", css=f"ct-fill ct-fill-{tone or 'plain'}", style=f"width: {width:.1f}%"), css="ct-bar"
    )


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, empty: str = "Nothing here.") -> Html:
    """Return a table; without rows, one line that says so."""
    head = joined(_cell("th", column, column.head) for column in columns)
    body = [tag("tr", *(_cell("td", column, cell) for column, cell in zip(columns, row, strict=True))) for row in rows]
    if not body:
        body = [Html(f'<tr><td class="ct-none" colspan="{len(columns)}">{escaped(empty)}</td></tr>')]
    whole = tag("table", tag("thead", tag("tr", head)), tag("tbody", *body), css="ct-table")
    return tag("div", whole, css="ct-scroll")


def cards(items: Iterable[Card]) -> Html:
    """Return figures side by side."""
    return tag("div", *(_card(item) for item in items), css="ct-cards")


def facts(items: Iterable[tuple[str, Cell]]) -> Html:
    """Return names with their values, side by side."""
    pairs = (
        tag("div", tag("div", name, css="ct-fact-name"), tag("div", value, css="ct-fact-value"))
        for name, value in items
    )
    return tag("div", *pairs, css="ct-facts")


def heading(text: str, note: Cell = "") -> Html:
    """Return the heading of a part, with a note beside it."""
    return tag("div", tag("h2", text), tag("span", note, css="ct-note") if note else Html(""), css="ct-heading")


def title(text: Cell, note: Cell = "", aside: Cell = "") -> Html:
    """Return the head of a page."""
    return tag(
        "div",
        tag("div", tag("h1", text), tag("div", note, css="ct-note") if note else Html("")),
        tag("div", aside, css="ct-aside") if aside else Html(""),
        css="ct-title",
    )


def notice(head: str, text: Cell, *, tone: Tone = "", commands: Sequence[tuple[str, str]] = ()) -> Html:
    """Return what a page says instead of data: what is the matter, and what to do, with commands to copy."""
    steps = (tag("li", tag("span", what), tag("code", command, css="ct-command")) for what, command in commands)
    return tag(
        "div",
        tag("h2", head),
        tag("p", text),
        tag("ul", *steps) if commands else Html(""),
        css=f"ct-notice ct-notice-{tone or 'plain'}",
    )


def _cell(name: str, column: Column, content: Cell) -> Html:
    css = " ".join(
        filter(None, (f"ct-{column.align}", "ct-nowrap" if column.nowrap or column.head.endswith("(UTC)") else ""))
    )
    return tag(name, content, css=css, hint=column.hint if name == "th" else "")


def _card(item: Card) -> Html:
    inner = joined(
        (
            tag("div", item.label, css="ct-card-label"),
            tag("div", item.value, css=f"ct-card-value ct-{item.tone}" if item.tone else "ct-card-value"),
            tag("div", item.note, css="ct-card-note"),
        )
    )
    if item.href:
        return link(inner, item.href, css="ct-card ct-card-link", hint=item.hint)
    return tag("div", inner, css="ct-card", hint=item.hint)
