"""Every source pack has a page in docs/packs, whose table is what the pack yields, and which shows it."""

import re
from pathlib import Path

import pytest

from controltower.collector.scrapers.definition import parse_sources
from controltower.collector.scrapers.packs import packs

DOCS = Path(__file__).resolve().parents[3] / "docs"
ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| .+ \| (.+) \|$", re.MULTILINE)
PICTURE = re.compile(r"^!\[.+\]\((.+\.png)\)$", re.MULTILINE)
MOST_BYTES = 120_000


def page(name: str) -> str:
    return (DOCS / "packs" / f"{name}.md").read_text(encoding="utf-8")


def test_each_pack_has_a_page() -> None:
    """None is without one, no page is of a pack that is gone, and docs/scrape.md leads to all of them."""
    text = (DOCS / "scrape.md").read_text(encoding="utf-8")

    assert {path.stem for path in (DOCS / "packs").glob("*.md")} == set(packs())
    assert [
        name for name in packs() if not re.search(rf"^\| `{name}` \| .*\(packs/{name}\.md\)", text, re.MULTILINE)
    ] == []


@pytest.mark.parametrize("name", packs())
def test_a_page_names_its_pack(name: str) -> None:
    """In its title, with the command that takes it; and what it says fits on one page."""
    text = page(name)

    assert text.partition("\n")[0].endswith(f": `{name}`")
    assert f"controltower scrape show {name} > sources.yaml" in text
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize("name", packs())
def test_a_page_tells_the_steps_of_its_pack(name: str) -> None:
    """Each code of a step with its keys, as the rules have them."""
    told = {code: set(re.findall(r"`(\w+)`", keys)) for code, keys in ROW.findall(page(name))}
    yielded: dict[str, set[str]] = {}
    for source in parse_sources(packs()[name], name).sources.values():
        for rule in source.rules:
            yielded.setdefault(rule.step, set()).update(rule.keys)

    assert told == yielded


@pytest.mark.parametrize("name", packs())
def test_a_page_shows_what_comes_of_it(name: str) -> None:
    """Its pictures are there, are PNG, and are small."""
    pictures = PICTURE.findall(page(name))

    assert f"{name}.png" in pictures
    for picture in pictures:
        content = (DOCS / "packs" / picture).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) < MOST_BYTES


def test_no_picture_is_left_over() -> None:
    """Each picture in the folder is on a page."""
    shown = {picture for name in packs() for picture in PICTURE.findall(page(name))}

    assert {path.name for path in (DOCS / "packs").glob("*.png")} == shown
