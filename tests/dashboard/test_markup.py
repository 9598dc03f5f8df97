"""HTML is made of escaped text only."""

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from controltower.dashboard.links import href, transaction
from controltower.dashboard.markup import (
    Card,
    Column,
    Html,
    badge,
    cards,
    chip,
    facts,
    heading,
    joined,
    link,
    notice,
    share_bar,
    table,
    title,
    toned,
    two_lines,
)
from controltower.store.read import AnchorRef
from controltower.store.rows import Key


class Tags(HTMLParser):
    """Collects the tags of a page and what a reader sees."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: Html) -> Tags:
    """Return what a browser would make of it."""
    found = Tags()
    found.feed(html)
    found.close()
    return found


@given(st.text(alphabet="<>\"'&=/ abonclickscript;:#\n"))
def test_no_text_becomes_a_tag_or_an_attribute(text: str) -> None:
    """Whatever is put in, only our own tags and attributes come out."""
    everything = joined(
        (
            table([Column(text, hint=text)], [[text], [link(text, href("p", {"q": text}), hint=text)]]),
            cards([Card(text, text, text, "bad", href("p", {"q": text}), text)]),
            notice(text, text, commands=((text, text),)),
            title(text, text, text),
            heading(text, text),
            facts([(text, text)]),
            two_lines(text, chip(text, text)),
            toned(badge(text, text), "warn", text),
            share_bar(0.5),
        )
    )

    found = parsed(everything)

    known = {"div", "table", "thead", "tbody", "tr", "th", "td", "a", "span", "h1", "h2", "p", "ul", "li", "code"}
    assert found.tags <= known
    assert found.attributes <= {"class", "title", "style", "href", "target"}


@given(st.text(min_size=1))
def test_address_keeps_any_key(value: str) -> None:
    """A key with any characters leads to its page and comes back unchanged."""
    address = transaction(AnchorRef("f", Key("purchase_order", "", value)))

    assert parse_qs(urlsplit(address).query, keep_blank_values=True).get("value", [""])[0] == value
    assert "scope" not in address.split("value=")[0]


def test_table_without_rows_says_so() -> None:
    """An empty table has a line in place of rows."""
    assert "Nothing is open." in parsed(table([Column("A"), Column("B")], [], empty="Nothing is open.")).text


def test_bar_stays_in_its_frame() -> None:
    """A share outside 0 to 1 is drawn as none or all."""
    assert "width: 100.0%" in share_bar(7)
    assert "width: 0.0%" in share_bar(-1)
