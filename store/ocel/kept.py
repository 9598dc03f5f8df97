"""A log of OCEL that is kept whole beside the steps made of it: pieces of text, one for each event, object and type.

A piece is an attribute of a span, in parts because attributes have a longest length. All pieces together are the log.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from controltower.store.ocel.staged import Related, Staged
from controltower.store.queries import named
from controltower.store.reads.fetch import fetch_records

LOG: Final = "ocel.log"  # attribute: the name of the log
NUMBER: Final = "ocel.number"  # attribute: which piece of it
PART: Final = "ocel.part."  # attribute, and a number
PART_CHARACTERS: Final = 8_000  # at most four bytes each: below the 32 KiB that the collector keeps of a value
AT_ONCE: Final = 500  # values or relations of an object in one piece: a long life is many pieces
PAGE: Final = 5_000  # pieces that are read at once
MOST_CHARACTERS: Final = 120 * PART_CHARACTERS  # of a piece: a span has 128 attributes


def attributes(log: str, number: int, piece: str) -> dict[str, str]:
    """Return the attributes that a piece is kept in."""
    parts = range(0, len(piece), PART_CHARACTERS)
    kept = {f"{PART}{index}": piece[start : start + PART_CHARACTERS] for index, start in enumerate(parts)}
    return {LOG: log, NUMBER: str(number), **kept}


def pieces(staged: Staged) -> Iterator[str]:
    """Yield the pieces of all types, objects and events."""
    types = staged.types()
    for kind, found in (("event", types.events), ("object", types.objects)):
        for type_, kinds in found.items():
            yield _json("type", kind, type_, kinds)
    for each in staged.each_object():
        longest = max(len(each.values), len(each.related), 1)
        for start in range(0, longest, AT_ONCE):
            some = slice(start, start + AT_ONCE)
            yield _json("object", each.id, each.type, each.values[some], each.related[some])
    for event in staged.each_event():
        yield _json("event", *event)


def export_log(client: Client, log: str, staged: Staged) -> None:
    """Add all pieces of *log* to *staged*. StoreError."""
    behind = -1
    while True:
        rows = fetch_records(client, named("export_pieces", log=log, behind=behind, limit=PAGE))
        for row in rows:
            _add(staged, *json.loads("".join(row["parts"])))
        if len(rows) < PAGE:
            return
        behind = rows[-1]["number"]


def kept_logs(client: Client) -> list[str]:
    """Return the names of the logs that are kept. StoreError."""
    return [row["log"] for row in fetch_records(client, named("export_logs"))]


def _json(*piece: Any) -> str:
    return json.dumps(piece, ensure_ascii=False, separators=(",", ":"))


def _add(staged: Staged, kind: str, *piece: Any) -> None:
    match kind:
        case "type":
            staged.declare(*piece)
        case "object":
            id_, type_, values, related = piece
            staged.object(id_, type_, [tuple(each) for each in values], [Related(*each) for each in related])
        case _:
            id_, type_, time, values, related = piece
            staged.event(id_, type_, time, values, [Related(*each) for each in related])
