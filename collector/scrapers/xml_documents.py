"""XML files: each element that a path finds is a record, and XPath finds what is in it. Namespaces are left out."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from controltower.collector.scrapers.files import is_installed
from controltower.collector.scrapers.observation import ByPath, Record

MOST_ELEMENTS: Final = 1_000_000  # of one file

# No entity is resolved and nothing is loaded; a document type is refused, because its entities could mean anything.
_PARSER: Final[Mapping[str, bool]] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}


@lru_cache(4_096)
def xpath_of(path: str) -> Any:
    """Return an XPath, ready to be applied; None for what is none."""
    from lxml import etree  # needs the extra `files`, as a source of this format does

    try:
        return etree.XPath(path)
    except (etree.XPathError, ValueError):
        return None


def is_path(path: str) -> bool:
    """Whether a path is one; without what could tell, which is told by itself, any is."""
    return not is_installed("lxml") or xpath_of(path) is not None


def elements(content: bytes, source: Any) -> Iterator[Record]:
    """Yield a record for each element of a file that the source's path finds, and one with a flaw for what is refused."""
    from lxml import etree

    digest = hashlib.sha256(content).hexdigest()[:16]
    try:
        root = etree.fromstring(content, etree.XMLParser(**_PARSER))
    except etree.XMLSyntaxError as exc:
        yield Record(digest, content, f"bad_xml: line {exc.lineno or 1}")
        return
    if root.getroottree().docinfo.doctype:
        yield Record(digest, content, "bad_xml: it has a document type")
        return
    for number, element in enumerate(root.iter()):
        if number > MOST_ELEMENTS:
            yield Record(digest, b"", "too_long: elements")
            return
        _plain(element)
    found = xpath_of(source.each)(root)
    chosen = [each for each in found if etree.iselement(each)] if isinstance(found, list) else []
    if not chosen:
        yield Record(digest, b"", "no_document: the path finds no element")
    for number, element in enumerate(chosen, 1):
        yield Record(f"{digest}:{number}", etree.tostring(element, encoding="utf-8", with_tail=False))


def document(record: Record, encoding: str) -> "Element":
    """Return the fields of an element."""
    from lxml import etree

    return Element(etree.fromstring(record.content, etree.XMLParser(**_PARSER)))


class Element(ByPath):
    """What XPath finds in an element."""

    def __init__(self, element: Any, around: "Element | None" = None) -> None:
        self._element = element
        self._around = around

    def get(self, name: str, default: Any = None) -> Any:
        """Return the text that a path finds, a list where it finds many."""
        path = xpath_of(name)
        found = path(self._element) if path is not None else None
        if isinstance(found, bool):
            return "true" if found else "false"
        texts = [text for each in (found if isinstance(found, list) else [found]) if (text := _text(each))]
        if not texts and self._around is not None:
            return self._around.get(name, default)
        return default if not texts else texts[0] if len(texts) == 1 else texts

    def lines(self, path: str) -> list["Element"]:
        """Return the elements that a path finds. What they do not have is looked for in this one."""
        found = xpath_of(path)(self._element)
        return [Element(each, self) for each in found if hasattr(each, "tag")] if isinstance(found, list) else []

    def __iter__(self) -> Iterator[str]:
        """Yield the names of what is directly inside: paths are asked for, not listed."""
        return iter(dict.fromkeys(child.tag for child in self._element))

    def __len__(self) -> int:
        return len({child.tag for child in self._element})


def _text(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, float):
        return str(int(found)) if found.is_integer() else repr(found)
    return ("".join(found.itertext()) if hasattr(found, "itertext") else str(found)).strip()


def _plain(element: Any) -> None:
    """Take the namespaces off an element and its attributes."""
    if isinstance(element.tag, str) and element.tag.startswith("{"):
        element.tag = element.tag.rpartition("}")[2]
    for name in [name for name in element.attrib if name.startswith("{")]:
        element.attrib[name.rpartition("}")[2]] = element.attrib.pop(name)
