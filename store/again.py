"""Load a segment that was offered before, and of which the store may hold all, a part or nothing.

A token makes an insert happen once for as long as the engine remembers it. It may forget: its memory of tokens is never
synced to the disk, and a power cut can take parts that were acknowledged. So nothing is built on it: when no insert of
the segment is at work any more, what the store holds of it is taken out, and it is loaded under a token never used.
"""

from typing import Final
from uuid import uuid4

from controltower.store.client import Client
from controltower.store.loader import TOKEN_END, WAYS, Signal

LOADING: Final = """
SELECT count()
FROM system.processes
WHERE substringIndex(Settings['insert_deduplication_token'], '#', 1) = {id:String}
"""
RECOUNT: Final = """
INSERT INTO source_watermarks
SELECT ServiceName, max(Timestamp), max(LoadedAt), count()
FROM otel_traces
GROUP BY ServiceName
"""


def stored(client: Client, signal: Signal, segment: str) -> int:
    """Return the rows of *segment* that the store holds, in quarantine or not. Raises the engine's errors."""
    return int(client.query(WAYS[signal].held(), parameters={"id": segment}).result_rows[0][0])


def is_loading(client: Client, segment: str) -> bool:
    """Whether an insert of *segment* is at work in the engine: its client may be gone. Raises the engine's errors."""
    return bool(client.query(LOADING, parameters={"id": segment}).result_rows[0][0])


def take_out(client: Client, signal: Signal, segment: str) -> None:
    """Delete the rows that the store holds of *segment*. Raises the engine's errors.

    The keys of its spans stay: they say the same when they are stored again. What was counted is not: see ``recount``.
    """
    for table in WAYS[signal].tables():
        client.command(
            f"ALTER TABLE {table} DELETE WHERE SegmentId = {{segment:String}}",
            parameters={"segment": segment},
            settings={"mutations_sync": 2},
        )


def recount(client: Client) -> None:
    """Count the spans of each system anew: what was taken out or lost, and loaded again, was counted twice.

    It reads two columns of all spans, so it is for the hour after a crash. Raises the engine's errors.
    """
    client.command("TRUNCATE TABLE source_watermarks")
    client.command(RECOUNT)


def fresh_token(segment: str) -> str:
    """Return a token for *segment* that was never used: the old one may be remembered although its rows are gone."""
    return f"{segment}{TOKEN_END}{uuid4().hex}"
