-- Spans: the tables of the OpenTelemetry Collector's ClickHouse exporter, so that a stock Collector can write and
-- Grafana or HyperDX can read, and the inbox through which our own collector loads OTLP requests as they came.

-- The exporter's 22 columns, then ours with defaults. Time buckets come first in the key: good for sparse and for
-- dense data, and "the newest" is read in order. A day is kept for 400 days after its last span was stored, however
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
    LoadedAt DateTime64(6, 'UTC') DEFAULT now64(6) CODEC(Delta, ZSTD(1)),
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
    ResourceAttributeItems Array(String) ALIAS arrayMap((k, v) -> concat(k, '=', v), mapKeys(ResourceAttributes), mapValues(ResourceAttributes)),
    SpanAttributeItems Array(String) ALIAS arrayMap((k, v) -> concat(k, '=', v), mapKeys(SpanAttributes), mapValues(SpanAttributes)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_loaded_at LoadedAt TYPE minmax GRANULARITY 1,
    INDEX idx_ingested_at IngestedAt TYPE minmax GRANULARITY 1,
    INDEX idx_is_error IsError TYPE set(2) GRANULARITY 1
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
) ENGINE = MergeTree
PARTITION BY toStartOfMonth(Timestamp)  -- a search without a time looks into every partition: few of them
ORDER BY (Type, Value, Scope, Timestamp)
TTL toDateTime(greatest(Timestamp, IngestedAt)) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

-- Keys stand on the span and on its events (the lines of a document). A value is text, or the JSON text of an array.
-- The scope of a line's key is the line's own, else the span's.
CREATE MATERIALIZED VIEW otel_traces_to_span_keys TO span_keys AS
SELECT DISTINCT
    substring(name, length('controltower.key.') + 1) AS Type,
    coalesce(
        nullIf(own[concat('controltower.scope.', Type)], ''),
        sets[1][concat('controltower.scope.', Type)]) AS Scope,
    value AS Value,
    TraceId,
    SpanId,
    ServiceName,
    SpanName,
    Timestamp,
    TenantId,
    IngestedAt
FROM (
    SELECT
        *,
        arrayJoin(if(startsWith(text, '[') AND isValidJSON(text), JSONExtract(text, 'Array(String)'), [text])) AS value
    FROM (
        SELECT
            TraceId,
            SpanId,
            ServiceName,
            SpanName,
            Timestamp,
            TenantId,
            IngestedAt,
            sets,
            own,
            name,
            text
        FROM (
            SELECT
                TraceId,
                SpanId,
                ServiceName,
                SpanName,
                Timestamp,
                TenantId,
                IngestedAt,
                arrayMap(
                    attributes -> mapFilter(
                        (k, v) -> startsWith(k, 'controltower.key.') OR startsWith(k, 'controltower.scope.'),
                        attributes),
                    arrayPushFront(`Events.Attributes`, SpanAttributes)) AS sets,
                arrayJoin(arrayFilter(attributes -> notEmpty(attributes), sets)) AS own
            FROM otel_traces
        )
        ARRAY JOIN
            mapKeys(own) AS name,
            mapValues(own) AS text
    )
    WHERE startsWith(name, 'controltower.key.')
)
WHERE value != '';

-- A segment is inserted here as it is, `FORMAT Protobuf` (otlp_traces.proto); the view behind it makes the spans.
CREATE TABLE otlp_traces_inbox (
    received_unix_nano UInt64,
    tenant Array(String),
    resource_spans Array(Tuple(
        resource Tuple(attributes Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String)))))))))))),
        scope_spans Array(Tuple(
            scope Tuple(name String, version String),
            spans Array(Tuple(
                trace_id String,
                span_id String,
                trace_state String,
                parent_span_id String,
                name String,
                kind Int32,
                start_time_unix_nano UInt64,
                end_time_unix_nano UInt64,
                attributes Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))))))),
                events Array(Tuple(time_unix_nano UInt64, name String, attributes Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))))))))),
                links Array(Tuple(trace_id String, span_id String, trace_state String, attributes Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value Tuple(values Array(Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))), kvlist_value Tuple(values Array(Tuple(key String, value Tuple(value Enum8('none' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, 'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7), string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String, array_value String, kvlist_value String))))))))))))),
                status Tuple(code Int32, message String)))))))
) ENGINE = Null;

CREATE MATERIALIZED VIEW otlp_traces_inbox_to_otel_traces TO otel_traces AS
SELECT
    fromUnixTimestamp64Nano(toInt64(if(TimeQuality IN ('start_missing', 'start_out_of_range'), received, start)), 'UTC') AS Timestamp,
    lower(hex(sp.trace_id)) AS TraceId,
    lower(hex(sp.span_id)) AS SpanId,
    lower(hex(sp.parent_span_id)) AS ParentSpanId,
    sp.trace_state AS TraceState,
    sp.name AS SpanName,
    transform(sp.kind, [0, 1, 2, 3, 4, 5], ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'], toString(sp.kind)) AS SpanKind,
    resource_attributes['service.name'] AS ServiceName,
    resource_attributes AS ResourceAttributes,
    scope_name AS ScopeName,
    scope_version AS ScopeVersion,
    mapSort(CAST(arrayMap((k, v) -> (k, multiIf(v.value = 'string_value', v.string_value, v.value = 'int_value', toString(v.int_value), v.value = 'double_value', if(isFinite(v.double_value), replaceOne(replaceOne(toString(v.double_value), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(v.double_value), ['nan', 'inf', '-inf'], ['NaN', '+Inf', '-Inf']))), v.value = 'bool_value', toString(v.bool_value), v.value = 'bytes_value', base64Encode(v.bytes_value), v.value = 'none', '', concat(if(v.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t2, k2, i2) -> (k2, i2), arrayMap((k2, v2) -> concat(if(v.value = 'array_value', '', concat(toJSONString(k2), ':')), multiIf(v2.value = 'string_value', toJSONString(v2.string_value), v2.value = 'int_value', toString(v2.int_value), v2.value = 'double_value', replaceOne(replaceOne(toJSONString(v2.double_value), 'e', 'e+'), 'e+-', 'e-'), v2.value = 'bool_value', toString(v2.bool_value), v2.value = 'bytes_value', toJSONString(base64Encode(v2.bytes_value)), v2.value = 'none', 'null', concat(if(v2.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t1, k1, i1) -> (k1, i1), arrayMap((k1, v1) -> concat(if(v2.value = 'array_value', '', concat(toJSONString(k1), ':')), multiIf(v1.value = 'string_value', toJSONString(v1.string_value), v1.value = 'int_value', toString(v1.int_value), v1.value = 'double_value', replaceOne(replaceOne(toJSONString(v1.double_value), 'e', 'e+'), 'e+-', 'e-'), v1.value = 'bool_value', toString(v1.bool_value), v1.value = 'bytes_value', toJSONString(base64Encode(v1.bytes_value)), v1.value = 'none', 'null', concat('{"otlp.', toString(v1.value), '":"', base64Encode(concat(v1.array_value, v1.kvlist_value)), '"}'))), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayConcat(v2.array_value.values, v2.kvlist_value.values.value)), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayEnumerate(arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)))), ','), if(v2.value = 'array_value', ']', '}')))), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayConcat(v.array_value.values, v.kvlist_value.values.value)), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayEnumerate(arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)))), ','), if(v.value = 'array_value', ']', '}')))), sp.attributes.key, sp.attributes.value), 'Map(LowCardinality(String), String)')) AS SpanAttributes,
    if(TimeQuality IN ('', 'in_future'), end - start, 0) AS Duration,
    transform(sp.status.code, [0, 1, 2], ['Unset', 'Ok', 'Error'], toString(sp.status.code)) AS StatusCode,
    sp.status.message AS StatusMessage,
    arrayMap(e -> fromUnixTimestamp64Nano(toInt64(least(e.time_unix_nano, 9223372036854775807)), 'UTC'), sp.events) AS `Events.Timestamp`,
    arrayMap(e -> e.name, sp.events) AS `Events.Name`,
    arrayMap(e -> mapSort(CAST(arrayMap((k, v) -> (k, multiIf(v.value = 'string_value', v.string_value, v.value = 'int_value', toString(v.int_value), v.value = 'double_value', if(isFinite(v.double_value), replaceOne(replaceOne(toString(v.double_value), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(v.double_value), ['nan', 'inf', '-inf'], ['NaN', '+Inf', '-Inf']))), v.value = 'bool_value', toString(v.bool_value), v.value = 'bytes_value', base64Encode(v.bytes_value), v.value = 'none', '', concat(if(v.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t2, k2, i2) -> (k2, i2), arrayMap((k2, v2) -> concat(if(v.value = 'array_value', '', concat(toJSONString(k2), ':')), multiIf(v2.value = 'string_value', toJSONString(v2.string_value), v2.value = 'int_value', toString(v2.int_value), v2.value = 'double_value', replaceOne(replaceOne(toJSONString(v2.double_value), 'e', 'e+'), 'e+-', 'e-'), v2.value = 'bool_value', toString(v2.bool_value), v2.value = 'bytes_value', toJSONString(base64Encode(v2.bytes_value)), v2.value = 'none', 'null', concat(if(v2.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t1, k1, i1) -> (k1, i1), arrayMap((k1, v1) -> concat(if(v2.value = 'array_value', '', concat(toJSONString(k1), ':')), multiIf(v1.value = 'string_value', toJSONString(v1.string_value), v1.value = 'int_value', toString(v1.int_value), v1.value = 'double_value', replaceOne(replaceOne(toJSONString(v1.double_value), 'e', 'e+'), 'e+-', 'e-'), v1.value = 'bool_value', toString(v1.bool_value), v1.value = 'bytes_value', toJSONString(base64Encode(v1.bytes_value)), v1.value = 'none', 'null', concat('{"otlp.', toString(v1.value), '":"', base64Encode(concat(v1.array_value, v1.kvlist_value)), '"}'))), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayConcat(v2.array_value.values, v2.kvlist_value.values.value)), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayEnumerate(arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)))), ','), if(v2.value = 'array_value', ']', '}')))), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayConcat(v.array_value.values, v.kvlist_value.values.value)), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayEnumerate(arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)))), ','), if(v.value = 'array_value', ']', '}')))), e.attributes.key, e.attributes.value), 'Map(LowCardinality(String), String)')), sp.events) AS `Events.Attributes`,
    arrayMap(l -> lower(hex(l.trace_id)), sp.links) AS `Links.TraceId`,
    arrayMap(l -> lower(hex(l.span_id)), sp.links) AS `Links.SpanId`,
    arrayMap(l -> l.trace_state, sp.links) AS `Links.TraceState`,
    arrayMap(l -> mapSort(CAST(arrayMap((k, v) -> (k, multiIf(v.value = 'string_value', v.string_value, v.value = 'int_value', toString(v.int_value), v.value = 'double_value', if(isFinite(v.double_value), replaceOne(replaceOne(toString(v.double_value), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(v.double_value), ['nan', 'inf', '-inf'], ['NaN', '+Inf', '-Inf']))), v.value = 'bool_value', toString(v.bool_value), v.value = 'bytes_value', base64Encode(v.bytes_value), v.value = 'none', '', concat(if(v.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t2, k2, i2) -> (k2, i2), arrayMap((k2, v2) -> concat(if(v.value = 'array_value', '', concat(toJSONString(k2), ':')), multiIf(v2.value = 'string_value', toJSONString(v2.string_value), v2.value = 'int_value', toString(v2.int_value), v2.value = 'double_value', replaceOne(replaceOne(toJSONString(v2.double_value), 'e', 'e+'), 'e+-', 'e-'), v2.value = 'bool_value', toString(v2.bool_value), v2.value = 'bytes_value', toJSONString(base64Encode(v2.bytes_value)), v2.value = 'none', 'null', concat(if(v2.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t1, k1, i1) -> (k1, i1), arrayMap((k1, v1) -> concat(if(v2.value = 'array_value', '', concat(toJSONString(k1), ':')), multiIf(v1.value = 'string_value', toJSONString(v1.string_value), v1.value = 'int_value', toString(v1.int_value), v1.value = 'double_value', replaceOne(replaceOne(toJSONString(v1.double_value), 'e', 'e+'), 'e+-', 'e-'), v1.value = 'bool_value', toString(v1.bool_value), v1.value = 'bytes_value', toJSONString(base64Encode(v1.bytes_value)), v1.value = 'none', 'null', concat('{"otlp.', toString(v1.value), '":"', base64Encode(concat(v1.array_value, v1.kvlist_value)), '"}'))), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayConcat(v2.array_value.values, v2.kvlist_value.values.value)), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayEnumerate(arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)))), ','), if(v2.value = 'array_value', ']', '}')))), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayConcat(v.array_value.values, v.kvlist_value.values.value)), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayEnumerate(arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)))), ','), if(v.value = 'array_value', ']', '}')))), l.attributes.key, l.attributes.value), 'Map(LowCardinality(String), String)')), sp.links) AS `Links.Attributes`,
    tenant AS TenantId,
    fromUnixTimestamp64Nano(toInt64(received), 'UTC') AS IngestedAt,
    getSetting('insert_deduplication_token') AS SegmentId,
    multiIf(
        start = 0, 'start_missing',
        start < earliest OR start > latest, 'start_out_of_range',
        end = 0, 'end_missing',
        end < start, 'end_before_start',
        end > latest, 'end_out_of_range',
        start > soon, 'in_future',
        '') AS TimeQuality,
    if(TimeQuality = '', 0, start) AS SentStartUnixNano,
    if(TimeQuality = '', 0, end) AS SentEndUnixNano
FROM (
    SELECT
        tenant,
        received,
        received - 315576000000000000 AS earliest,
        received + 300000000000 AS soon,
        received + 86400000000000 AS latest,
        resource_attributes,
        ss.scope.name AS scope_name,
        ss.scope.version AS scope_version,
        arrayJoin(ss.spans) AS sp,
        sp.start_time_unix_nano AS start,
        sp.end_time_unix_nano AS end
    FROM (
        SELECT
            tenant,
            received,
            mapSort(CAST(arrayMap((k, v) -> (k, multiIf(v.value = 'string_value', v.string_value, v.value = 'int_value', toString(v.int_value), v.value = 'double_value', if(isFinite(v.double_value), replaceOne(replaceOne(toString(v.double_value), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(v.double_value), ['nan', 'inf', '-inf'], ['NaN', '+Inf', '-Inf']))), v.value = 'bool_value', toString(v.bool_value), v.value = 'bytes_value', base64Encode(v.bytes_value), v.value = 'none', '', concat(if(v.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t2, k2, i2) -> (k2, i2), arrayMap((k2, v2) -> concat(if(v.value = 'array_value', '', concat(toJSONString(k2), ':')), multiIf(v2.value = 'string_value', toJSONString(v2.string_value), v2.value = 'int_value', toString(v2.int_value), v2.value = 'double_value', replaceOne(replaceOne(toJSONString(v2.double_value), 'e', 'e+'), 'e+-', 'e-'), v2.value = 'bool_value', toString(v2.bool_value), v2.value = 'bytes_value', toJSONString(base64Encode(v2.bytes_value)), v2.value = 'none', 'null', concat(if(v2.value = 'array_value', '[', '{'), arrayStringConcat(arraySort((t1, k1, i1) -> (k1, i1), arrayMap((k1, v1) -> concat(if(v2.value = 'array_value', '', concat(toJSONString(k1), ':')), multiIf(v1.value = 'string_value', toJSONString(v1.string_value), v1.value = 'int_value', toString(v1.int_value), v1.value = 'double_value', replaceOne(replaceOne(toJSONString(v1.double_value), 'e', 'e+'), 'e+-', 'e-'), v1.value = 'bool_value', toString(v1.bool_value), v1.value = 'bytes_value', toJSONString(base64Encode(v1.bytes_value)), v1.value = 'none', 'null', concat('{"otlp.', toString(v1.value), '":"', base64Encode(concat(v1.array_value, v1.kvlist_value)), '"}'))), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayConcat(v2.array_value.values, v2.kvlist_value.values.value)), arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)), arrayEnumerate(arrayResize(v2.kvlist_value.values.key, length(v2.array_value.values) + length(v2.kvlist_value.values)))), ','), if(v2.value = 'array_value', ']', '}')))), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayConcat(v.array_value.values, v.kvlist_value.values.value)), arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)), arrayEnumerate(arrayResize(v.kvlist_value.values.key, length(v.array_value.values) + length(v.kvlist_value.values)))), ','), if(v.value = 'array_value', ']', '}')))), rs.resource.attributes.key, rs.resource.attributes.value), 'Map(LowCardinality(String), String)')) AS resource_attributes,
            arrayJoin(rs.scope_spans) AS ss
        FROM (
            SELECT
                tenant[-1] AS tenant,
                if(received_unix_nano BETWEEN 946684800000000000 AND 4102444800000000000,
                    received_unix_nano,
                    toUInt64(toUnixTimestamp64Nano(now64(9)))) AS received,
                arrayJoin(resource_spans) AS rs
            FROM otlp_traces_inbox
        )
    )
);
