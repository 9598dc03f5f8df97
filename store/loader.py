"""Load a segment of the collector's journal: the engine parses it, no record is decoded in Python."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, get_args

from clickhouse_connect.driver.exceptions import Error as EngineError

from controltower.store.client import Client
from controltower.store.errors import DeeperError, LoadError
from controltower.store.insert import insert_messages, insert_piecewise, takes_pieces
from controltower.store.otlp import DEPTH, PLAIN, SHALLOW, stem
from controltower.store.otlp_logs import LOGS
from controltower.store.otlp_metrics import METRICS
from controltower.store.otlp_rows import Rows
from controltower.store.otlp_text import DEEPER
from controltower.store.otlp_traces import TRACES
from controltower.store.piecewise import SETTINGS as PIECEWISE
from controltower.store.piecewise import piecewise
from controltower.store.times import TimeBounds

Signal = Literal["traces", "logs", "metrics"]
LOADED_SIGNALS: Final[tuple[Signal, ...]] = get_args(Signal)

CLOCK: Final = "SELECT now64(6)"
COUNT: Final = (
    "SELECT count() AS rows FROM {} WHERE SegmentId = {{id:String}} AND LoadedAt >= {{since:DateTime64(6, 'UTC')}}"
)
HELD: Final = "SELECT count() AS rows FROM {} WHERE SegmentId = {{id:String}}"

TOKEN_END: Final = "#"  # noqa: S105 - no secret: a part of an insert token
"""What a token has behind the id of its segment, when the segment is loaded under another token than its id."""

SETTINGS: Final[dict[str, Any]] = {
    # Stored when the insert returns, and once: all blocks of a segment and of the views behind it bear its token.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # It tells 0, false and "" from a value that is not set.
    "input_format_protobuf_oneof_presence": 1,
    # JSON as the Collector's exporter writes it.
    "output_format_json_escape_forward_slashes": 0,
    "output_format_json_quote_denormals": 1,
    # The views of redaction have many steps; merging them works out the expressions of each anew, regular ones included.
    "query_plan_merge_expressions": 0,
    # A value that an inbox does not read is refused by an expression that must not be asked of the others.
    "short_circuit_function_evaluation": "enable",
    # As many days as the view believes: some 3,700, ten years back and what the setting allows ahead.
    "max_partitions_per_insert_block": 0,
    # 64 MiB of ordinary spans need some 600 MiB; more is a bomb, or bytes that only look like spans.
    "max_memory_usage": 2 * 1024**3,
    "max_execution_time": 120,
}

# A segment of more bytes is decoded in pieces: that is more to analyse, and less work for each span.
ONE_PIECE_BYTES: Final = 8 * 1024 * 1024

# Who is to blame? The bytes when their reader failed, or what it read cannot be made into columns.
READER: Final = "ProtobufRowInputFormat"
ARRAYS_DIFFER: Final = 190
MEMORY_LIMIT_EXCEEDED: Final = 241
THROWN: Final = 395  # by throwIf: what the inbox does not read
# What can hit the reader, too, and passes: a file, the network, time, a cancelled query, no memory or space.
PASSES: Final = frozenset({74, 159, 209, 210, 243, 394})
REASON_LENGTH: Final = 300
# What is said twice, and where in the engine it happened.
NOISE: Final = re.compile(r"^(.{0,80}?DB::Exception: )+|: \(in file/uri .*$|: While executing .*$")
SQL: Final = files("controltower.store").joinpath("sql")


@dataclass(frozen=True, slots=True)
class Way:
    """Where the messages of a signal go in, and what they are; where they come out is what ``rows`` says."""

    message: str
    rows: Rows
    depths: tuple[int, ...] = (DEPTH,)  # the levels of values that its inboxes read, the cheapest first
    merged_indexes: tuple[str, ...] = ()  # made when parts are merged, not when they are loaded

    def tables(self) -> list[str]:
        """Return the tables in which rows end."""
        return [self.rows.quarantine, *(target.table for target in self.rows.targets)]

    def count(self) -> str:
        """Return the statement that counts what one load of a segment stored, in all of the signal's tables."""
        return self._sum(COUNT)

    def held(self) -> str:
        """Return the statement that counts what all loads of a segment stored."""
        return self._sum(HELD)

    def _sum(self, statement: str) -> str:
        each = " UNION ALL ".join(statement.format(table) for table in self.tables())
        return f"SELECT sum(rows) FROM ({each})"  # noqa: S608 - our own names


# Two fifths of what it takes to store a span. Until its part is merged, a search over attributes reads that part.
ATTRIBUTE_INDEXES: Final = ("idx_res_attr_key", "idx_res_attr_value", "idx_span_attr_key", "idx_span_attr_value")

WAYS: Final[dict[Signal, Way]] = {
    "traces": Way("TracesData", TRACES, (PLAIN, SHALLOW, DEPTH), ATTRIBUTE_INDEXES),
    "logs": Way("LogsData", LOGS),
    "metrics": Way("MetricsData", METRICS),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed file of the journal: messages back to back, each after its length. ``id`` is its insert token."""

    id: str
    signal: Signal
    path: Path
    opener: Callable[[], BinaryIO] | None = None  # when the file itself is not the messages: it is encrypted at rest
    token: str = ""  # under which it is loaded, when that is not its id

    def open(self) -> BinaryIO:
        """Open its messages for reading, from the beginning."""
        return self.opener() if self.opener else self.path.open("rb")


def load_segment(client: Client, segment: Segment, bounds: TimeBounds | None = None, *, depth: int = DEPTH) -> int:
    """Load *segment* and return the rows that this call stored: 0 when it was stored before.

    With a *depth* below DEPTH, one of the signal's ``depths``, it is read at less cost when no value of it lies deeper;
    else DeeperError is raised, and what is there of it, if anything, is to be taken out before it is loaded anew: by this
    token its blocks could be taken for others.

    Rows with times outside of *bounds* count, too: they are in the signal's quarantine. It may be called as often as
    needed, also after an answer was lost: every row is stored once, in its table and in the tables behind it. Raises LoadError: ``permanent`` when the engine refuses the bytes for good, and then
    nothing of the segment is stored; else trying again may help.
    """
    try:
        if not segment.path.stat().st_size:
            return 0
        started: datetime = client.query(CLOCK).result_rows[0][0]
        try:
            _insert(client, segment, bounds or TimeBounds(), depth)
        except EngineError as exc:
            if depth < DEPTH and exc.code == THROWN and DEEPER in str(exc):
                raise DeeperError(segment.id) from exc
            # A part of it may be stored when it failed late; then only the same token completes it.
            final = _is_final(exc) and not _rows(client, segment, started)
            raise LoadError(f"Segment {segment.id} was not loaded: {_reason(exc)}", permanent=final) from exc
        return _rows(client, segment, started)
    except EngineError as exc:
        raise LoadError(f"Segment {segment.id} was not loaded: {_reason(exc)}", permanent=False) from exc
    except OSError as exc:
        raise LoadError(f"Segment {segment.id} cannot be read: {exc}.", permanent=False) from exc


def _insert(client: Client, segment: Segment, bounds: TimeBounds, depth: int) -> None:
    way = WAYS[segment.signal]
    name = stem(segment.signal, depth)
    with segment.open() as messages, as_file(SQL.joinpath(f"{name}.proto")) as schema:
        settings = {
            **SETTINGS,
            **bounds.settings(),
            **_schema(client, schema),
            "format_schema_message_name": way.message,
            "exclude_materialize_skip_indexes_on_insert": ",".join(way.merged_indexes),
            "insert_deduplication_token": segment.token or segment.id,
        }
        if segment.path.stat().st_size <= ONE_PIECE_BYTES or not takes_pieces(client):
            insert_messages(client, f"{name}_inbox", messages, settings)
        else:
            insert_piecewise(client, piecewise(client, segment.signal, name), messages, {**settings, **PIECEWISE})


def _schema(client: Client, file: Path) -> dict[str, str]:
    """Return the settings that tell the engine the message.

    The embedded engine reads the file: of a text it would make a file first, in the working directory of the process.
    """
    if str(client.uri).startswith("chdb:"):
        return {"format_schema_source": "file", "format_schema": str(file)}
    return {"format_schema_source": "string", "format_schema": _text(file)}


@cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _rows(client: Client, segment: Segment, since: datetime) -> int:
    counted = client.query(WAYS[segment.signal].count(), parameters={"id": segment.id, "since": since})
    return int(counted.result_rows[0][0])


def _is_final(error: EngineError) -> bool:
    said = str(error)
    if error.code == MEMORY_LIMIT_EXCEEDED:  # of this insert, or of the whole server
        return "(total)" not in said
    return error.code == ARRAYS_DIFFER or (READER in said and error.code not in PASSES)


def _reason(error: EngineError) -> str:
    """Return what the engine says, short: it repeats itself, and can quote a whole statement."""
    first = next(iter(str(error).strip().splitlines()), "no reason given")
    said = NOISE.sub("", first).strip(" :")
    return said if len(said) <= REASON_LENGTH else f"{said[:REASON_LENGTH]} …"
