-- Links between spans of different traces, of every span that has some, whichever way it came in: a message is received in
-- another trace than it was sent in, and where neither says a key, the link alone joins the two.
CREATE TABLE span_links (
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    linked_trace_id String CODEC(ZSTD(1)),
    linked_span_id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    loaded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    INDEX linked_bloom linked_trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX loaded_at_minmax loaded_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree  -- a segment that is loaded again says its links twice
ORDER BY (trace_id, span_id, linked_trace_id, linked_span_id)
TTL toDateTime(greatest(at, loaded_at)) + INTERVAL 400 DAY  -- as long as the span itself
SETTINGS
    index_granularity = 256,
    min_bytes_for_wide_part = 1000000000000,
    non_replicated_deduplication_window = 10000,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;

CREATE MATERIALIZED VIEW otel_traces_to_span_links TO span_links AS
SELECT
    TraceId AS trace_id,
    SpanId AS span_id,
    link.1 AS linked_trace_id,
    link.2 AS linked_span_id,
    toDateTime64(Timestamp, 6, 'UTC') AS at,
    LoadedAt AS loaded_at
FROM (
    SELECT
        TraceId,
        SpanId,
        Timestamp,
        LoadedAt,
        arrayJoin(arrayZip(`Links.TraceId`, `Links.SpanId`)) AS link
    FROM otel_traces
    WHERE notEmpty(`Links.TraceId`) AND TraceId != '' AND SpanId != ''
)
WHERE link.1 NOT IN ('', TraceId) AND link.2 != '';

INSERT INTO span_links (trace_id, span_id, linked_trace_id, linked_span_id, at, loaded_at)
SELECT
    TraceId AS trace_id,
    SpanId AS span_id,
    link.1 AS linked_trace_id,
    link.2 AS linked_span_id,
    toDateTime64(Timestamp, 6, 'UTC') AS at,
    LoadedAt AS loaded_at
FROM (
    SELECT
        TraceId,
        SpanId,
        Timestamp,
        LoadedAt,
        arrayJoin(arrayZip(`Links.TraceId`, `Links.SpanId`)) AS link
    FROM otel_traces
    WHERE notEmpty(`Links.TraceId`) AND TraceId != '' AND SpanId != ''
)
WHERE link.1 NOT IN ('', TraceId) AND link.2 != '';
