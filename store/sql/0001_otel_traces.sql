-- Spans: the tables of the OpenTelemetry Collector's ClickHouse exporter, so that a stock Collector can write and
-- Grafana or HyperDX can read, and the inbox through which our own collector loads OTLP requests as they came.

-- The exporter's 22 columns, then ours with defaults. Time buckets come first in the key: good for sparse and for
-- dense data, and "the newest" is read in order. Of attributes with one key, the first is found. A day is kept for 400 days after its last span was stored, however
-- old the span is: an import of last year's history does not vanish at the first merge.
CREATE TABLE otel_traces (
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion String CODEC(ZSTD(1)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Duration UInt64 CODEC(T64, ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)),
    Events Nested (
        Timestamp DateTime64(9, 'UTC'),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(1)),
    Links Nested (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(1)),
    TenantId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    IngestedAt DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    LoadedAt DateTime64(6, 'UTC') DEFAULT nowInBlock64(6) CODEC(Delta, ZSTD(1)),
    SegmentId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    -- '' when the times are plausible, else what is wrong; then the times as they were sent stand beside it.
    TimeQuality LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    SentStartUnixNano UInt64 DEFAULT 0 CODEC(ZSTD(1)),
    SentEndUnixNano UInt64 DEFAULT 0 CODEC(ZSTD(1)),
    IsError Bool MATERIALIZED StatusCode IN ('Error', 'STATUS_CODE_ERROR') CODEC(ZSTD(1)),
    IsRoot Bool ALIAS ParentSpanId = '',
    EndTime DateTime64(9, 'UTC') ALIAS addNanoseconds(Timestamp, Duration),
    Environment String ALIAS coalesce(
        nullIf(ResourceAttributes['deployment.environment.name'], ''),
        ResourceAttributes['deployment.environment']),
    ResourceAttributeItems Array(String) ALIAS arrayMap(
        (k, v) -> concat(k, '=', v), mapKeys(ResourceAttributes), mapValues(ResourceAttributes)),
    SpanAttributeItems Array(String) ALIAS arrayMap(
        (k, v) -> concat(k, '=', v), mapKeys(SpanAttributes), mapValues(SpanAttributes)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_loaded_at LoadedAt TYPE minmax GRANULARITY 1,
    INDEX idx_ingested_at IngestedAt TYPE minmax GRANULARITY 1,
    INDEX idx_is_error IsError TYPE set(2) GRANULARITY 1,
    INDEX idx_segment SegmentId TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, SpanName, Timestamp)
TTL toDateTime(greatest(Timestamp, IngestedAt)) + INTERVAL 400 DAY
SETTINGS
    index_granularity = 8192,
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;  -- a segment's token is known for so many inserts

-- When a trace happened, for reading it by id without a scan over all days. The columns are named as Grafana expects;
-- End is the end of the trace, not the start of its last span. Rows of one trace merge in time: aggregate when reading.
CREATE TABLE otel_traces_trace_id_ts (
    TraceId String CODEC(ZSTD(1)),
    Start SimpleAggregateFunction(min, DateTime('UTC')) CODEC(ZSTD(1)),
    End SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1)),
    StoredAt SimpleAggregateFunction(max, DateTime('UTC')) CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toStartOfMonth(Start)  -- by day, one import of old history would make a part per day once more
ORDER BY TraceId
TTL greatest(End, StoredAt) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW otel_traces_trace_id_ts_mv TO otel_traces_trace_id_ts AS
SELECT
    TraceId,
    min(toDateTime(Timestamp, 'UTC')) AS Start,
    max(toDateTime(addNanoseconds(Timestamp, Duration), 'UTC')) AS End,
    max(toDateTime(IngestedAt, 'UTC')) AS StoredAt
FROM otel_traces
WHERE TraceId != ''
GROUP BY TraceId;

-- Business key -> span, of every span that carries one, whichever way it came in and whether or not it is a step.
CREATE TABLE span_keys (
    Type LowCardinality(String) CODEC(ZSTD(1)),
    Scope String CODEC(ZSTD(1)),
    Value String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    TenantId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    IngestedAt DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX idx_value Value TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree  -- a segment that is loaded again after the engine lost a part of it says some keys twice
PARTITION BY toStartOfMonth(Timestamp)  -- a search without a time looks into every partition: few of them
PRIMARY KEY (Type, Value, Scope, Timestamp)
ORDER BY (Type, Value, Scope, Timestamp, TraceId, SpanId)
TTL toDateTime(greatest(Timestamp, IngestedAt)) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

-- Keys stand on the span and on its events (the lines of a document). A value is text, or the JSON text of an array.
-- The scope of a line's key is the line's own, else the span's; a line that repeats a key of its span adds nothing.
CREATE MATERIALIZED VIEW otel_traces_to_span_keys TO span_keys AS
SELECT
    substring(name, length('controltower.key.') + 1) AS Type,
    coalesce(
        nullIf(own[concat('controltower.scope.', Type)], ''),
        scopes[concat('controltower.scope.', Type)]) AS Scope,
    arrayJoin(if(startsWith(text, '[') AND isValidJSON(text), JSONExtract(text, 'Array(String)'), [text])) AS Value,
    TraceId,
    SpanId,
    ServiceName,
    SpanName,
    Timestamp,
    TenantId,
    IngestedAt
FROM (
    SELECT
        TraceId,
        SpanId,
        ServiceName,
        SpanName,
        Timestamp,
        TenantId,
        IngestedAt,
        mapFilter((k, v) -> startsWith(k, 'controltower.scope.'), SpanAttributes) AS scopes,
        arrayJoin(arrayMap(
            attributes -> mapFilter(
                (k, v) -> startsWith(k, 'controltower.key.') OR startsWith(k, 'controltower.scope.'),
                attributes),
            arrayPushFront(`Events.Attributes`, SpanAttributes))) AS own
    FROM otel_traces
)
ARRAY JOIN
    mapKeys(own) AS name,
    mapValues(own) AS text
WHERE startsWith(name, 'controltower.key.') AND Value != ''
LIMIT 1 BY TraceId, SpanId, Type, Scope, Value;  -- half the cost of DISTINCT over all columns

-- From here on made by store/otlp_traces.py: a segment is inserted into the inbox as it is, `FORMAT Protobuf` with
-- otlp_traces.proto, and the view behind it makes the spans.
CREATE TABLE otlp_traces_inbox (
    received_unix_nano UInt64,
    tenant Array(String),
    redaction_keys Array(String),
    `resource_spans.resource.attributes.key` Array(Array(String)),
    `resource_spans.resource.attributes.value` Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))),
    `resource_spans.scope_spans.scope.name` Array(Array(String)),
    `resource_spans.scope_spans.scope.version` Array(Array(String)),
    `resource_spans.scope_spans.spans.trace_id` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.span_id` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.trace_state` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.parent_span_id` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.name` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.kind` Array(Array(Array(Int32))),
    `resource_spans.scope_spans.spans.start_time_unix_nano` Array(Array(Array(UInt64))),
    `resource_spans.scope_spans.spans.end_time_unix_nano` Array(Array(Array(UInt64))),
    `resource_spans.scope_spans.spans.status.code` Array(Array(Array(Int32))),
    `resource_spans.scope_spans.spans.status.message` Array(Array(Array(String))),
    `resource_spans.scope_spans.spans.events.time_unix_nano` Array(Array(Array(Array(UInt64)))),
    `resource_spans.scope_spans.spans.events.name` Array(Array(Array(Array(String)))),
    `resource_spans.scope_spans.spans.links.trace_id` Array(Array(Array(Array(String)))),
    `resource_spans.scope_spans.spans.links.span_id` Array(Array(Array(Array(String)))),
    `resource_spans.scope_spans.spans.links.trace_state` Array(Array(Array(Array(String)))),
    `resource_spans.scope_spans.spans.attributes.key` Array(Array(Array(Array(String)))),
    `resource_spans.scope_spans.spans.attributes.value` Array(Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))))),
    `resource_spans.scope_spans.spans.events.attributes.key` Array(Array(Array(Array(Array(String))))),
    `resource_spans.scope_spans.spans.events.attributes.value` Array(Array(Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))))))))),
    `resource_spans.scope_spans.spans.links.attributes.key` Array(Array(Array(Array(Array(String))))),
    `resource_spans.scope_spans.spans.links.attributes.value` Array(Array(Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))))))
) ENGINE = Null;

CREATE TABLE otlp_traces_decoded (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    ParentSpanId String,
    TraceState String,
    SpanName LowCardinality(String),
    SpanKind LowCardinality(String),
    ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeName String,
    ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64,
    StatusCode LowCardinality(String),
    StatusMessage String,
    `Events.Timestamp` Array(DateTime64(9, 'UTC')),
    `Events.Name` Array(LowCardinality(String)),
    `Events.Attributes` Array(Map(LowCardinality(String), String)),
    `Links.TraceId` Array(String),
    `Links.SpanId` Array(String),
    `Links.TraceState` Array(String),
    `Links.Attributes` Array(Map(LowCardinality(String), String)),
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentStartUnixNano UInt64,
    SentEndUnixNano UInt64,
    RedactionKeys Array(String)
) ENGINE = Null;

CREATE TABLE otlp_traces_redacted (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    ParentSpanId String,
    TraceState String,
    SpanName LowCardinality(String),
    SpanKind LowCardinality(String),
    ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeName String,
    ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64,
    StatusCode LowCardinality(String),
    StatusMessage String,
    `Events.Timestamp` Array(DateTime64(9, 'UTC')),
    `Events.Name` Array(LowCardinality(String)),
    `Events.Attributes` Array(Map(LowCardinality(String), String)),
    `Links.TraceId` Array(String),
    `Links.SpanId` Array(String),
    `Links.TraceState` Array(String),
    `Links.Attributes` Array(Map(LowCardinality(String), String)),
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentStartUnixNano UInt64,
    SentEndUnixNano UInt64
) ENGINE = Null;

CREATE TABLE otel_traces_quarantine (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    ParentSpanId String,
    TraceState String,
    SpanName LowCardinality(String),
    SpanKind LowCardinality(String),
    ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeName String,
    ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64,
    StatusCode LowCardinality(String),
    StatusMessage String,
    `Events.Timestamp` Array(DateTime64(9, 'UTC')),
    `Events.Name` Array(LowCardinality(String)),
    `Events.Attributes` Array(Map(LowCardinality(String), String)),
    `Links.TraceId` Array(String),
    `Links.SpanId` Array(String),
    `Links.TraceState` Array(String),
    `Links.Attributes` Array(Map(LowCardinality(String), String)),
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentStartUnixNano UInt64,
    SentEndUnixNano UInt64,
    LoadedAt DateTime64(6, 'UTC') DEFAULT nowInBlock64(6)
) ENGINE = MergeTree
PARTITION BY toStartOfMonth(IngestedAt)
ORDER BY (TimeQuality, SegmentId)
TTL toDateTime(IngestedAt) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW otlp_traces_redact TO otlp_traces_redacted AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    ParentSpanId,
    TraceState,
    SpanName,
    SpanKind,
    ServiceName,
    ResourceAttributes,
    ScopeName,
    ScopeVersion,
    SpanAttributes,
    Duration,
    StatusCode,
    StatusMessage,
    `Events.Timestamp`,
    `Events.Name`,
    `Events.Attributes`,
    `Links.TraceId`,
    `Links.SpanId`,
    `Links.TraceState`,
    `Links.Attributes`,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentStartUnixNano,
    SentEndUnixNano
FROM otlp_traces_decoded;

CREATE MATERIALIZED VIEW otlp_traces_to_quarantine TO otel_traces_quarantine AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    ParentSpanId,
    TraceState,
    SpanName,
    SpanKind,
    ServiceName,
    ResourceAttributes,
    ScopeName,
    ScopeVersion,
    SpanAttributes,
    Duration,
    StatusCode,
    StatusMessage,
    `Events.Timestamp`,
    `Events.Name`,
    `Events.Attributes`,
    `Links.TraceId`,
    `Links.SpanId`,
    `Links.TraceState`,
    `Links.Attributes`,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentStartUnixNano,
    SentEndUnixNano
FROM otlp_traces_redacted
WHERE TimeQuality IN ('start_missing', 'start_too_early', 'start_too_late', 'end_too_early', 'end_too_late', 'time_too_early', 'time_too_late');

CREATE MATERIALIZED VIEW otlp_traces_to_otel_traces TO otel_traces AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    ParentSpanId,
    TraceState,
    SpanName,
    SpanKind,
    ServiceName,
    ResourceAttributes,
    ScopeName,
    ScopeVersion,
    SpanAttributes,
    Duration,
    StatusCode,
    StatusMessage,
    `Events.Timestamp`,
    `Events.Name`,
    `Events.Attributes`,
    `Links.TraceId`,
    `Links.SpanId`,
    `Links.TraceState`,
    `Links.Attributes`,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentStartUnixNano,
    SentEndUnixNano
FROM otlp_traces_redacted
WHERE TimeQuality NOT IN ('start_missing', 'start_too_early', 'start_too_late', 'end_too_early', 'end_too_late', 'time_too_early', 'time_too_late');

CREATE MATERIALIZED VIEW otlp_traces_decode TO otlp_traces_decoded AS
SELECT
    fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'start_'), received, start)), 'UTC') AS Timestamp,
    lower(hex(trace_id)) AS TraceId,
    lower(hex(span_id)) AS SpanId,
    lower(hex(parent_span_id)) AS ParentSpanId,
    trace_state AS TraceState,
    span_name AS SpanName,
    transform(kind, [0, 1, 2, 3, 4, 5], ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'], toString(kind)) AS SpanKind,
    resource_attributes['service.name'] AS ServiceName,
    resource_attributes AS ResourceAttributes,
    scope_name AS ScopeName,
    scope_version AS ScopeVersion,
    span_attributes AS SpanAttributes,
    if(TimeQuality IN ('', 'ahead'), end - start, 0) AS Duration,
    transform(status_code, [0, 1, 2], ['Unset', 'Ok', 'Error'], toString(status_code)) AS StatusCode,
    status_message AS StatusMessage,
    arrayMap(t -> fromUnixTimestamp64Nano(toInt64(least(t, 9223372036854775807)), 'UTC'), event_time) AS `Events.Timestamp`,
    event_name AS `Events.Name`,
    arraySlice(inner_attributes, 1, length(event_name)) AS `Events.Attributes`,
    arrayMap(t -> lower(hex(t)), link_trace_id) AS `Links.TraceId`,
    arrayMap(t -> lower(hex(t)), link_span_id) AS `Links.SpanId`,
    link_trace_state AS `Links.TraceState`,
    arraySlice(inner_attributes, 1 + length(event_name)) AS `Links.Attributes`,
    tenant AS TenantId,
    fromUnixTimestamp64Nano(toInt64(received), 'UTC') AS IngestedAt,
    substringIndex(getSetting('insert_deduplication_token'), '#', 1) AS SegmentId,
    TimeQuality,
    if(TimeQuality = '', 0, start) AS SentStartUnixNano,
    if(TimeQuality = '', 0, end) AS SentEndUnixNano,
    redaction_keys AS RedactionKeys
FROM (
    SELECT
        tenant,
        received,
        earliest,
        latest,
        redaction_keys,
        resource_attributes,
        scope_name,
        scope_version,
        trace_id,
        span_id,
        trace_state,
        parent_span_id,
        span_name,
        kind,
        start,
        end,
        status_code,
        status_message,
        event_time,
        event_name,
        link_trace_id,
        link_span_id,
        link_trace_state,
        CAST(arraySort((pair, at) -> (pair.1, at), arrayMap((key, value) -> (key, multiIf(value.o = 's', value.s, value.o = 'i', toString(value.i), value.o = 'd', if(isFinite(value.d), replaceOne(replaceOne(toString(value.d), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(value.d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))), value.o = 'b', toString(value.b), value.o = 'y', base64Encode(value.y), value.o = 'n', '', concat(if(value.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k3, v3) -> concat(k3, multiIf(v3.o = 's', toJSONString(toValidUTF8(v3.s)), v3.o = 'i', toString(v3.i), v3.o = 'd', replaceOne(replaceOne(toJSONString(v3.d), 'e', 'e+'), 'e+-', 'e-'), v3.o = 'b', toString(v3.b), v3.o = 'y', toJSONString(base64Encode(v3.y)), v3.o = 'n', 'null', concat(if(v3.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k2, v2) -> concat(k2, multiIf(v2.o = 's', toJSONString(toValidUTF8(v2.s)), v2.o = 'i', toString(v2.i), v2.o = 'd', replaceOne(replaceOne(toJSONString(v2.d), 'e', 'e+'), 'e+-', 'e-'), v2.o = 'b', toString(v2.b), v2.o = 'y', toJSONString(base64Encode(v2.y)), v2.o = 'n', 'null', concat(if(v2.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k1, v1) -> concat(k1, multiIf(v1.o = 's', toJSONString(toValidUTF8(v1.s)), v1.o = 'i', toString(v1.i), v1.o = 'd', replaceOne(replaceOne(toJSONString(v1.d), 'e', 'e+'), 'e+-', 'e-'), v1.o = 'b', toString(v1.b), v1.o = 'y', toJSONString(base64Encode(v1.y)), v1.o = 'n', 'null', concat('{"otlp.', if(v1.o = 'a', 'array', 'kvlist'), '_value":"', base64Encode(concat(v1.a, v1.k)), '"}'))), arrayResize(arrayMap(k1 -> concat(toJSONString(toValidUTF8(k1)), ':'), arraySort(v2.`k.v.key`)), length(v2.`a.v`) + length(v2.`k.v.value`)), arrayConcat(v2.`a.v`, arraySort((v1, k1, i1) -> (k1, i1), v2.`k.v.value`, v2.`k.v.key`, arrayEnumerate(v2.`k.v.key`)))), ','), if(v2.o = 'a', ']', '}')))), arrayResize(arrayMap(k2 -> concat(toJSONString(toValidUTF8(k2)), ':'), arraySort(v3.`k.v.key`)), length(v3.`a.v`) + length(v3.`k.v.value`)), arrayConcat(v3.`a.v`, arraySort((v2, k2, i2) -> (k2, i2), v3.`k.v.value`, v3.`k.v.key`, arrayEnumerate(v3.`k.v.key`)))), ','), if(v3.o = 'a', ']', '}')))), arrayResize(arrayMap(k3 -> concat(toJSONString(toValidUTF8(k3)), ':'), arraySort(value.`k.v.key`)), length(value.`a.v`) + length(value.`k.v.value`)), arrayConcat(value.`a.v`, arraySort((v3, k3, i3) -> (k3, i3), value.`k.v.value`, value.`k.v.key`, arrayEnumerate(value.`k.v.key`)))), ','), if(value.o = 'a', ']', '}')))), sa_key, sa_value), arrayEnumerate(sa_key)), 'Map(LowCardinality(String), String)') AS span_attributes,
        arrayMap((keys, values) -> CAST(arraySort((pair, at) -> (pair.1, at), arrayMap((key, value) -> (key, multiIf(value.o = 's', value.s, value.o = 'i', toString(value.i), value.o = 'd', if(isFinite(value.d), replaceOne(replaceOne(toString(value.d), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(value.d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))), value.o = 'b', toString(value.b), value.o = 'y', base64Encode(value.y), value.o = 'n', '', concat(if(value.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k3, v3) -> concat(k3, multiIf(v3.o = 's', toJSONString(toValidUTF8(v3.s)), v3.o = 'i', toString(v3.i), v3.o = 'd', replaceOne(replaceOne(toJSONString(v3.d), 'e', 'e+'), 'e+-', 'e-'), v3.o = 'b', toString(v3.b), v3.o = 'y', toJSONString(base64Encode(v3.y)), v3.o = 'n', 'null', concat(if(v3.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k2, v2) -> concat(k2, multiIf(v2.o = 's', toJSONString(toValidUTF8(v2.s)), v2.o = 'i', toString(v2.i), v2.o = 'd', replaceOne(replaceOne(toJSONString(v2.d), 'e', 'e+'), 'e+-', 'e-'), v2.o = 'b', toString(v2.b), v2.o = 'y', toJSONString(base64Encode(v2.y)), v2.o = 'n', 'null', concat(if(v2.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k1, v1) -> concat(k1, multiIf(v1.o = 's', toJSONString(toValidUTF8(v1.s)), v1.o = 'i', toString(v1.i), v1.o = 'd', replaceOne(replaceOne(toJSONString(v1.d), 'e', 'e+'), 'e+-', 'e-'), v1.o = 'b', toString(v1.b), v1.o = 'y', toJSONString(base64Encode(v1.y)), v1.o = 'n', 'null', concat('{"otlp.', if(v1.o = 'a', 'array', 'kvlist'), '_value":"', base64Encode(concat(v1.a, v1.k)), '"}'))), arrayResize(arrayMap(k1 -> concat(toJSONString(toValidUTF8(k1)), ':'), arraySort(v2.`k.v.key`)), length(v2.`a.v`) + length(v2.`k.v.value`)), arrayConcat(v2.`a.v`, arraySort((v1, k1, i1) -> (k1, i1), v2.`k.v.value`, v2.`k.v.key`, arrayEnumerate(v2.`k.v.key`)))), ','), if(v2.o = 'a', ']', '}')))), arrayResize(arrayMap(k2 -> concat(toJSONString(toValidUTF8(k2)), ':'), arraySort(v3.`k.v.key`)), length(v3.`a.v`) + length(v3.`k.v.value`)), arrayConcat(v3.`a.v`, arraySort((v2, k2, i2) -> (k2, i2), v3.`k.v.value`, v3.`k.v.key`, arrayEnumerate(v3.`k.v.key`)))), ','), if(v3.o = 'a', ']', '}')))), arrayResize(arrayMap(k3 -> concat(toJSONString(toValidUTF8(k3)), ':'), arraySort(value.`k.v.key`)), length(value.`a.v`) + length(value.`k.v.value`)), arrayConcat(value.`a.v`, arraySort((v3, k3, i3) -> (k3, i3), value.`k.v.value`, value.`k.v.key`, arrayEnumerate(value.`k.v.key`)))), ','), if(value.o = 'a', ']', '}')))), keys, values), arrayEnumerate(keys)), 'Map(LowCardinality(String), String)'), arrayConcat(ea_key, la_key), arrayConcat(ea_value, la_value)) AS inner_attributes,
        multiIf(start = 0, 'start_missing', start < earliest, 'start_too_early', start > latest, 'start_too_late', end > latest, 'end_too_late', start < received - 315619200000000000, 'start_implausible', end = 0, 'end_missing', end < earliest, 'end_too_early', end < start, 'end_before_start', start > received + 300000000000, 'ahead', '') AS TimeQuality
    FROM (
        SELECT
            tenant,
            received,
            earliest,
            latest,
            redaction_keys,
            resource_attributes,
            scope_name,
            scope_version,
            trace_id,
            span_id,
            trace_state,
            parent_span_id,
            span_name,
            kind,
            start,
            end,
            status_code,
            status_message,
            event_time,
            event_name,
            link_trace_id,
            link_span_id,
            link_trace_state,
            sa_key,
            sa_value,
            ea_key,
            ea_value,
            la_key,
            la_value
        FROM (
            SELECT
                tenant[-1] AS tenant,
                if(received_unix_nano BETWEEN 946684800000000000 AND 7258118400000000000, received_unix_nano, toUInt64(toUnixTimestamp64Nano(now64(9)))) AS received,
                toUInt64OrDefault(extract(getSetting('query_cache_tag'), 'from ([0-9]+) s'), toUInt64(946684800)) * 1000000000 AS earliest,
                received + toUInt64OrDefault(extract(getSetting('query_cache_tag'), 'to ([0-9]+) s'), toUInt64(86400)) * 1000000000 AS latest,
                redaction_keys,
                CAST(arraySort((pair, at) -> (pair.1, at), arrayMap((key, value) -> (key, multiIf(value.o = 's', value.s, value.o = 'i', toString(value.i), value.o = 'd', if(isFinite(value.d), replaceOne(replaceOne(toString(value.d), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(value.d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))), value.o = 'b', toString(value.b), value.o = 'y', base64Encode(value.y), value.o = 'n', '', concat(if(value.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k3, v3) -> concat(k3, multiIf(v3.o = 's', toJSONString(toValidUTF8(v3.s)), v3.o = 'i', toString(v3.i), v3.o = 'd', replaceOne(replaceOne(toJSONString(v3.d), 'e', 'e+'), 'e+-', 'e-'), v3.o = 'b', toString(v3.b), v3.o = 'y', toJSONString(base64Encode(v3.y)), v3.o = 'n', 'null', concat(if(v3.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k2, v2) -> concat(k2, multiIf(v2.o = 's', toJSONString(toValidUTF8(v2.s)), v2.o = 'i', toString(v2.i), v2.o = 'd', replaceOne(replaceOne(toJSONString(v2.d), 'e', 'e+'), 'e+-', 'e-'), v2.o = 'b', toString(v2.b), v2.o = 'y', toJSONString(base64Encode(v2.y)), v2.o = 'n', 'null', concat(if(v2.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k1, v1) -> concat(k1, multiIf(v1.o = 's', toJSONString(toValidUTF8(v1.s)), v1.o = 'i', toString(v1.i), v1.o = 'd', replaceOne(replaceOne(toJSONString(v1.d), 'e', 'e+'), 'e+-', 'e-'), v1.o = 'b', toString(v1.b), v1.o = 'y', toJSONString(base64Encode(v1.y)), v1.o = 'n', 'null', concat('{"otlp.', if(v1.o = 'a', 'array', 'kvlist'), '_value":"', base64Encode(concat(v1.a, v1.k)), '"}'))), arrayResize(arrayMap(k1 -> concat(toJSONString(toValidUTF8(k1)), ':'), arraySort(v2.`k.v.key`)), length(v2.`a.v`) + length(v2.`k.v.value`)), arrayConcat(v2.`a.v`, arraySort((v1, k1, i1) -> (k1, i1), v2.`k.v.value`, v2.`k.v.key`, arrayEnumerate(v2.`k.v.key`)))), ','), if(v2.o = 'a', ']', '}')))), arrayResize(arrayMap(k2 -> concat(toJSONString(toValidUTF8(k2)), ':'), arraySort(v3.`k.v.key`)), length(v3.`a.v`) + length(v3.`k.v.value`)), arrayConcat(v3.`a.v`, arraySort((v2, k2, i2) -> (k2, i2), v3.`k.v.value`, v3.`k.v.key`, arrayEnumerate(v3.`k.v.key`)))), ','), if(v3.o = 'a', ']', '}')))), arrayResize(arrayMap(k3 -> concat(toJSONString(toValidUTF8(k3)), ':'), arraySort(value.`k.v.key`)), length(value.`a.v`) + length(value.`k.v.value`)), arrayConcat(value.`a.v`, arraySort((v3, k3, i3) -> (k3, i3), value.`k.v.value`, value.`k.v.key`, arrayEnumerate(value.`k.v.key`)))), ','), if(value.o = 'a', ']', '}')))), ra_key, ra_value), arrayEnumerate(ra_key)), 'Map(LowCardinality(String), String)') AS resource_attributes,
                scope_name,
                scope_version,
                trace_id,
                span_id,
                trace_state,
                parent_span_id,
                span_name,
                kind,
                start,
                end,
                status_code,
                status_message,
                event_time,
                event_name,
                link_trace_id,
                link_span_id,
                link_trace_state,
                sa_key,
                sa_value,
                ea_key,
                ea_value,
                la_key,
                la_value
            FROM otlp_traces_inbox
            ARRAY JOIN
                `resource_spans.resource.attributes.key` AS ra_key,
                `resource_spans.resource.attributes.value` AS ra_value,
                `resource_spans.scope_spans.scope.name` AS scope_name,
                `resource_spans.scope_spans.scope.version` AS scope_version,
                `resource_spans.scope_spans.spans.trace_id` AS trace_id,
                `resource_spans.scope_spans.spans.span_id` AS span_id,
                `resource_spans.scope_spans.spans.trace_state` AS trace_state,
                `resource_spans.scope_spans.spans.parent_span_id` AS parent_span_id,
                `resource_spans.scope_spans.spans.name` AS span_name,
                `resource_spans.scope_spans.spans.kind` AS kind,
                `resource_spans.scope_spans.spans.start_time_unix_nano` AS start,
                `resource_spans.scope_spans.spans.end_time_unix_nano` AS end,
                `resource_spans.scope_spans.spans.status.code` AS status_code,
                `resource_spans.scope_spans.spans.status.message` AS status_message,
                `resource_spans.scope_spans.spans.events.time_unix_nano` AS event_time,
                `resource_spans.scope_spans.spans.events.name` AS event_name,
                `resource_spans.scope_spans.spans.links.trace_id` AS link_trace_id,
                `resource_spans.scope_spans.spans.links.span_id` AS link_span_id,
                `resource_spans.scope_spans.spans.links.trace_state` AS link_trace_state,
                `resource_spans.scope_spans.spans.attributes.key` AS sa_key,
                `resource_spans.scope_spans.spans.attributes.value` AS sa_value,
                `resource_spans.scope_spans.spans.events.attributes.key` AS ea_key,
                `resource_spans.scope_spans.spans.events.attributes.value` AS ea_value,
                `resource_spans.scope_spans.spans.links.attributes.key` AS la_key,
                `resource_spans.scope_spans.spans.links.attributes.value` AS la_value
        )
        ARRAY JOIN
            scope_name AS scope_name,
            scope_version AS scope_version,
            trace_id AS trace_id,
            span_id AS span_id,
            trace_state AS trace_state,
            parent_span_id AS parent_span_id,
            span_name AS span_name,
            kind AS kind,
            start AS start,
            end AS end,
            status_code AS status_code,
            status_message AS status_message,
            event_time AS event_time,
            event_name AS event_name,
            link_trace_id AS link_trace_id,
            link_span_id AS link_span_id,
            link_trace_state AS link_trace_state,
            sa_key AS sa_key,
            sa_value AS sa_value,
            ea_key AS ea_key,
            ea_value AS ea_value,
            la_key AS la_key,
            la_value AS la_value
    )
    ARRAY JOIN
        trace_id AS trace_id,
        span_id AS span_id,
        trace_state AS trace_state,
        parent_span_id AS parent_span_id,
        span_name AS span_name,
        kind AS kind,
        start AS start,
        end AS end,
        status_code AS status_code,
        status_message AS status_message,
        event_time AS event_time,
        event_name AS event_name,
        link_trace_id AS link_trace_id,
        link_span_id AS link_span_id,
        link_trace_state AS link_trace_state,
        sa_key AS sa_key,
        sa_value AS sa_value,
        ea_key AS ea_key,
        ea_value AS ea_value,
        la_key AS la_key,
        la_value AS la_value
);
