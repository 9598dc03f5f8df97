"""What sources of scrapers said of themselves, as it is in the store."""

from collections.abc import Mapping
from datetime import UTC, datetime

from controltower.store.client import Client
from controltower.store.read import SourceState

NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def say(
    client: Client,
    source: str,
    at: datetime,
    values: Mapping[str, int | datetime] | None = None,
    *,
    host: str = "edi-1",
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write that *source* said so at a time: numbers by name, and the words beside them."""
    told = {"running": 1, "failing": 0, "problems": 0, "lag": 0, "records": 0, "rejected": 0, "behind": 0} | dict(
        values or {}
    )
    beside = {"running": {"kind": "log"}} | dict(words or {})
    rows = [
        ["", host, source, name, at, NEVER, _number(value), dict(beside.get(name, {}))] for name, value in told.items()
    ]
    columns = ["tenant", "host", "source", "name", "at", "began_at", "value", "words"]
    client.insert("source_samples", rows, column_names=columns, settings={"async_insert": 0})


def say_level(client: Client, source: str, queue: str, at: datetime, readers: str = "", **levels: int) -> None:
    """Write how full a queue is, or how a group of readers sees it."""
    rows = [["", "edi-1", source, queue, readers, name, at, value] for name, value in levels.items()]
    columns = ["tenant", "host", "source", "queue", "readers", "name", "at", "value"]
    client.insert("queue_samples", rows, column_names=columns, settings={"async_insert": 0})


def source_state(at: datetime) -> SourceState:
    """Return a source that works, as it says at a time."""
    return SourceState(
        tenant="",
        host="edi-1",
        source="erp",
        reported_at=at,
        began_at=at,
        kind="log",
        running=True,
        failing=False,
        reason="",
        problems=0,
        problem="",
        worked_s=_number(at),
        read_s=0,
        watermark_s=0,
        lag_s=0,
        behind_bytes=0,
        open=0,
        records=1_200,
        steps=900,
        unmatched=297,
        rejected=3,
        refused=0,
        rejected_s=_number(at),
        reject_reason="bad_amount",
        reject_file="/data/scrape/erp/rejects.jsonl",
    )


def _number(value: int | datetime) -> int:
    return int(value.timestamp()) if isinstance(value, datetime) else value
