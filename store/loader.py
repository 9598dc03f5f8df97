"""Load a segment of the collector's journal: the engine parses it, no span is decoded in Python."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from clickhouse_connect.driver.exceptions import ClickHouseError

from controltower.store.client import Client
from controltower.store.errors import LoadError

INBOX: Final = "otlp_traces_inbox"


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed file of the journal; ``id`` is its insert token."""

    id: str
    signal: Literal["traces"]
    path: Path


def load_segment(client: Client, segment: Segment) -> int:
    """Load *segment* exactly once, however often it is called, and return the rows that are stored of it."""
    with segment.path.open("rb") as body:
        try:
            client.raw_insert(INBOX, insert_block=body, fmt="Protobuf", settings=_settings(segment))
        except ClickHouseError as exc:
            raise LoadError(str(exc), permanent=exc.code in (32, 33, 444)) from exc
    return int(
        client.command("SELECT count() FROM otel_traces WHERE SegmentId = {id:String}", parameters={"id": segment.id})
    )


def _settings(segment: Segment) -> dict[str, Any]:
    return {
        "insert_deduplication_token": segment.id,
        "format_schema_source": "string",
        "format_schema": _proto(),
        "format_schema_message_name": "TracesData",
        "input_format_protobuf_oneof_presence": 1,
        "output_format_json_escape_forward_slashes": 0,
        "output_format_json_quote_denormals": 1,
        "output_format_json_validate_utf8": 1,
        "max_partitions_per_insert_block": 0,
    }


@cache
def _proto() -> str:
    return files("controltower.store").joinpath("sql/otlp_traces.proto").read_text(encoding="utf-8")
