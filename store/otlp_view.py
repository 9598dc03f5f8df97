"""The view behind the inbox: what makes rows of an OTLP request.

Times that cannot be are not believed (``times``): the span then stands at the time of its receipt, ``TimeQuality`` says
why, and what was sent is kept beside it. So a broken clock makes no partition, and no duration wraps.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from controltower.store.otlp import DEPTH, Column, columns, inbox, lines, members
from controltower.store.otlp_rows import TRACES, steps
from controltower.store.otlp_text import text
from controltower.store.times import bounds, span_quality

_YEAR_2000_NS: Final = 946_684_800 * 10**9
_YEAR_2200_NS: Final = 7_258_118_400 * 10**9


def _map(prefix: str, depth: int) -> str:
    """Return the map of the attributes in the columns of *prefix*, sorted by key; of equal keys the first is found."""
    names = [name for name, _, _ in members(depth)]
    return _attribute_map(f"{prefix}_key", [f"{prefix}_{name}" for name in names], names, depth)


def _maps(prefix: str, depth: int) -> str:
    """Return the maps of a list of attributes, those of events and of links."""
    names = [name for name, _, _ in members(depth)]
    each = [f"{name}s" for name in names]
    inner = _attribute_map("keys", each, names, depth)
    return f"arrayMap(({', '.join(['keys', *each])}) -> {inner}, {', '.join(f'{prefix}_{n}' for n in ['key', *names])})"


def _attribute_map(keys: str, arrays: Sequence[str], names: Sequence[str], depth: int) -> str:
    pairs = f"arrayMap((key, {', '.join(names)}) -> (key, {text(depth)}), {keys}, {', '.join(arrays)})"
    # Not mapSort: it changes the order of equal keys.
    by_key = f"arraySort((pair, at) -> (pair.1, at), {pairs}, arrayEnumerate({keys}))"
    return f"CAST({by_key}, 'Map(LowCardinality(String), String)')"


def view(depth: int = DEPTH) -> str:
    """Return the view that makes spans of what comes into the inbox.

    One subquery per level of the message: all its columns are joined at once, and what belongs to the level (a
    resource's attributes) is printed once and not per span.
    """
    every = columns(depth)
    scopes = [column for column in every if column.level >= 2]
    spans = [column for column in every if column.level >= 3]
    return _VIEW.format(
        quality=span_quality("received", "start", "end"),
        bounds=lines(bounds("received"), 16),
        year_2000=_YEAR_2000_NS,
        year_2200=_YEAR_2200_NS,
        span_attributes=_map("sa", depth),
        event_attributes=_maps("ea", depth),
        link_attributes=_maps("la", depth),
        resource_attributes=_map("ra", depth),
        span_columns=lines(_names(spans), 8),
        scope_columns=lines(_names(scopes), 12),
        inbox_columns=lines(_names(scopes), 16),
        join_spans=lines(_joined(spans), 8),
        join_scopes=lines(_joined(scopes), 12),
        join_resources=lines((f"`{column.path}` AS {column.name}" for column in every), 16),
    )


def _names(of: Iterable[Column]) -> list[str]:
    return [column.name for column in of]


def _joined(of: Iterable[Column]) -> list[str]:
    return [f"{column.name} AS {column.name}" for column in of]


_VIEW: Final = """\
CREATE MATERIALIZED VIEW otlp_traces_decode TO otlp_traces_decoded AS
SELECT
    fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'start_'), received, start)), 'UTC') AS Timestamp,
    lower(hex(trace_id)) AS TraceId,
    lower(hex(span_id)) AS SpanId,
    lower(hex(parent_span_id)) AS ParentSpanId,
    trace_state AS TraceState,
    span_name AS SpanName,
    transform(
        kind,
        [0, 1, 2, 3, 4, 5],
        ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'],
        toString(kind)) AS SpanKind,
    resource_attributes['service.name'] AS ServiceName,
    resource_attributes AS ResourceAttributes,
    scope_name AS ScopeName,
    scope_version AS ScopeVersion,
    {span_attributes} AS SpanAttributes,
    if(TimeQuality IN ('', 'ahead'), end - start, 0) AS Duration,
    transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], toString(status_code)) AS StatusCode,
    status_message AS StatusMessage,
    arrayMap(t -> fromUnixTimestamp64Nano(toInt64(least(t, 9223372036854775807)), 'UTC'), event_time)
        AS `Events.Timestamp`,
    event_name AS `Events.Name`,
    {event_attributes} AS `Events.Attributes`,
    arrayMap(t -> lower(hex(t)), link_trace_id) AS `Links.TraceId`,
    arrayMap(t -> lower(hex(t)), link_span_id) AS `Links.SpanId`,
    link_trace_state AS `Links.TraceState`,
    {link_attributes} AS `Links.Attributes`,
    tenant AS TenantId,
    fromUnixTimestamp64Nano(toInt64(received), 'UTC') AS IngestedAt,
    substringIndex(getSetting('insert_deduplication_token'), '#', 1) AS SegmentId,
    {quality} AS TimeQuality,
    if(TimeQuality = '', 0, start) AS SentStartUnixNano,
    if(TimeQuality = '', 0, end) AS SentEndUnixNano
FROM (
    SELECT
        tenant,
        received,
        earliest,
        latest,
        resource_attributes,
        scope_name,
        scope_version,
{span_columns}
    FROM (
        SELECT
            tenant,
            received,
            earliest,
            latest,
            resource_attributes,
{scope_columns}
        FROM (
            SELECT
                tenant[-1] AS tenant,
                if(received_unix_nano BETWEEN {year_2000} AND {year_2200},
                    received_unix_nano,
                    toUInt64(toUnixTimestamp64Nano(now64(9)))) AS received,
{bounds},
                {resource_attributes} AS resource_attributes,
{inbox_columns}
            FROM otlp_traces_inbox
            ARRAY JOIN
{join_resources}
        )
        ARRAY JOIN
{join_scopes}
    )
    ARRAY JOIN
{join_spans}
)"""


def statements(depth: int = DEPTH) -> str:
    """Return the end of ``0001_otel_traces.sql``: the inbox, what makes spans of it, and their way into the tables."""
    return ";\n\n".join([inbox(depth), *steps(TRACES), view(depth)]) + ";\n"
