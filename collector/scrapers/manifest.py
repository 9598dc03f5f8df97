"""Manifests: files that say which others are whole, and what is in them."""

from typing import Final, NamedTuple

from controltower.collector.redaction.linear import Groups

LINE: Final = r"^(?P<sha256>[0-9a-fA-F]{64})\s+\*?(?P<name>\S+)(?:\s+(?P<records>[0-9]{1,12}))?\s*$"
"""A line as sha256sum writes it, and a count behind it."""

GROUPS: Final = frozenset(("name", "sha256", "records"))


class Manifest(NamedTuple):
    """What is said of a file: nothing, or its checksum and how many records are in it."""

    sha256: str
    records: int | None


def manifest_of(content: bytes, line: str) -> dict[str, Manifest]:
    """Return what a manifest says of each name. ValueError for one that is no text, or says nothing."""
    expression = Groups(line)
    found: dict[str, Manifest] = {}
    for each in content.removeprefix(b"\xef\xbb\xbf").splitlines():
        spans = expression.find(each)
        if spans is None:
            continue
        said: dict[str, str] = {}
        for name, number in expression.numbers.items():
            begin, end = spans[number]
            said[name] = each[begin:end].decode("utf-8", "strict") if begin >= 0 else ""
        records = said.get("records", "")
        found[said["name"]] = Manifest(said.get("sha256", "").lower(), int(records) if records else None)
    if not found:
        raise ValueError("no line of the manifest names a file")
    return found
