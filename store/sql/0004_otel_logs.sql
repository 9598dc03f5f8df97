-- Log records: the table of the OpenTelemetry Collector's ClickHouse exporter (its newer form, with a name of its own
-- for the event), so that a stock Collector can write and Grafana or HyperDX can read, and the inbox of our own loads.

-- The exporter's columns, then ours with defaults. SentUnixNano and ObservedUnixNano are the times as they were sent: a
-- record without a time of its own stands at the time it was observed. Flags and SentSeverityNumber are whole where the
-- exporter's columns hold eight bits. A day is kept for 400 days after its last record was stored.
CREATE TABLE otel_logs (
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    TraceFlags UInt8,
    SeverityText LowCardinality(String) CODEC(ZSTD(1)),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    Body String CODEC(ZSTD(1)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(1)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    EventName String CODEC(ZSTD(1)),
    `__otel_materialized_k8s.cluster.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.cluster.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.container.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.container.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.deployment.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.deployment.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.namespace.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.namespace.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.node.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.node.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.pod.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.pod.name'] CODEC(ZSTD(1)),
    `__otel_materialized_k8s.pod.uid` LowCardinality(String)
        MATERIALIZED ResourceAttributes['k8s.pod.uid'] CODEC(ZSTD(1)),
    `__otel_materialized_deployment.environment.name` LowCardinality(String)
        MATERIALIZED ResourceAttributes['deployment.environment.name'] CODEC(ZSTD(1)),
    TenantId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    IngestedAt DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    LoadedAt DateTime64(6, 'UTC') DEFAULT nowInBlock64(6) CODEC(Delta, ZSTD(1)),
    SegmentId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    TimeQuality LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    SentUnixNano UInt64 DEFAULT toUnixTimestamp64Nano(Timestamp) CODEC(Delta(8), ZSTD(1)),
    ObservedUnixNano UInt64 DEFAULT 0 CODEC(Delta(8), ZSTD(1)),
    Flags UInt32 DEFAULT TraceFlags CODEC(ZSTD(1)),
    SentSeverityNumber Int32 DEFAULT SeverityNumber CODEC(ZSTD(1)),
    DroppedAttributes UInt32 DEFAULT 0 CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_key mapKeys(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_scope_attr_value mapValues(ScopeAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_key mapKeys(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_log_attr_value mapValues(LogAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_lower_body lower(Body) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8,
    INDEX idx_loaded_at LoadedAt TYPE minmax GRANULARITY 1,
    INDEX idx_ingested_at IngestedAt TYPE minmax GRANULARITY 1,
    INDEX idx_segment SegmentId TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
TTL toDateTime(greatest(Timestamp, IngestedAt)) + INTERVAL 400 DAY
SETTINGS
    index_granularity = 8192,
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

-- Business key -> log record. Record tells records of one moment and service apart, and is computed again when reading.
CREATE TABLE log_keys (
    Type LowCardinality(String) CODEC(ZSTD(1)),
    Scope String CODEC(ZSTD(1)),
    Value String CODEC(ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    EventName LowCardinality(String) CODEC(ZSTD(1)),
    Timestamp DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    Record UInt64 CODEC(ZSTD(1)),
    TenantId LowCardinality(String) DEFAULT '' CODEC(ZSTD(1)),
    IngestedAt DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX idx_value Value TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree  -- a segment that is loaded again after the engine lost a part of it says some keys twice
PARTITION BY toStartOfMonth(Timestamp)
PRIMARY KEY (Type, Value, Scope, Timestamp)
ORDER BY (Type, Value, Scope, Timestamp, TraceId, SpanId, Record)
TTL toDateTime(greatest(Timestamp, IngestedAt)) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

-- As for spans: a value is text, or the JSON text of an array.
CREATE MATERIALIZED VIEW otel_logs_to_log_keys TO log_keys AS
SELECT
    substring(name, length('controltower.key.') + 1) AS Type,
    LogAttributes[concat('controltower.scope.', Type)] AS Scope,
    arrayJoin(if(startsWith(text, '[') AND isValidJSON(text), JSONExtract(text, 'Array(String)'), [text])) AS Value,
    TraceId,
    SpanId,
    ServiceName,
    EventName,
    Timestamp,
    cityHash64(Body, LogAttributes) AS Record,
    TenantId,
    IngestedAt
FROM (
    SELECT
        TraceId,
        SpanId,
        ServiceName,
        EventName,
        Timestamp,
        Body,
        LogAttributes,
        TenantId,
        IngestedAt,
        mapFilter((k, v) -> startsWith(k, 'controltower.key.'), LogAttributes) AS keys
    FROM otel_logs
)
ARRAY JOIN
    mapKeys(keys) AS name,
    mapValues(keys) AS text
WHERE Value != '';

-- From here on made by store/otlp_logs.py: a segment is inserted into the inbox as it is, `FORMAT Protobuf` with
-- otlp_logs.proto, and the view behind it makes the records.
CREATE TABLE otlp_logs_inbox (
    received_unix_nano UInt64,
    tenant Array(String),
    redaction_keys Array(String),
    `resource_logs.resource.attributes.key` Array(Array(String)),
    `resource_logs.resource.attributes.value` Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))),
    `resource_logs.schema_url` Array(String),
    `resource_logs.scope_logs.scope.attributes.key` Array(Array(Array(String))),
    `resource_logs.scope_logs.scope.attributes.value` Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))))))),
    `resource_logs.scope_logs.scope.name` Array(Array(String)),
    `resource_logs.scope_logs.scope.version` Array(Array(String)),
    `resource_logs.scope_logs.schema_url` Array(Array(String)),
    `resource_logs.scope_logs.log_records.time_unix_nano` Array(Array(Array(UInt64))),
    `resource_logs.scope_logs.log_records.observed_time_unix_nano` Array(Array(Array(UInt64))),
    `resource_logs.scope_logs.log_records.severity_number` Array(Array(Array(Int32))),
    `resource_logs.scope_logs.log_records.severity_text` Array(Array(Array(String))),
    `resource_logs.scope_logs.log_records.flags` Array(Array(Array(UInt32))),
    `resource_logs.scope_logs.log_records.trace_id` Array(Array(Array(String))),
    `resource_logs.scope_logs.log_records.span_id` Array(Array(Array(String))),
    `resource_logs.scope_logs.log_records.event_name` Array(Array(Array(String))),
    `resource_logs.scope_logs.log_records.dropped_attributes_count` Array(Array(Array(UInt32))),
    `resource_logs.scope_logs.log_records.attributes.key` Array(Array(Array(Array(String)))),
    `resource_logs.scope_logs.log_records.attributes.value` Array(Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))))),
    `resource_logs.scope_logs.log_records.body` Array(Array(Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)))), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a.v` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String)), `k.v.key` Array(String), `k.v.value` Array(Tuple(`o` Enum8('n' = 0, 's' = 1, 'b' = 2, 'i' = 3, 'd' = 4, 'a' = 5, 'k' = 6, 'y' = 7), `s` String, `b` Bool, `i` Int64, `d` Float64, `y` String, `a` String, `k` String))))))))))
) ENGINE = Null;

CREATE TABLE otlp_logs_decoded (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    TraceFlags UInt8,
    SeverityText LowCardinality(String),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String),
    Body String,
    ResourceSchemaUrl LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeSchemaUrl LowCardinality(String),
    ScopeName String,
    ScopeVersion LowCardinality(String),
    ScopeAttributes Map(LowCardinality(String), String),
    LogAttributes Map(LowCardinality(String), String),
    EventName String,
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentUnixNano UInt64,
    ObservedUnixNano UInt64,
    Flags UInt32,
    SentSeverityNumber Int32,
    DroppedAttributes UInt32,
    RedactionKeys Array(String)
) ENGINE = Null;

CREATE TABLE otlp_logs_redacted (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    TraceFlags UInt8,
    SeverityText LowCardinality(String),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String),
    Body String,
    ResourceSchemaUrl LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeSchemaUrl LowCardinality(String),
    ScopeName String,
    ScopeVersion LowCardinality(String),
    ScopeAttributes Map(LowCardinality(String), String),
    LogAttributes Map(LowCardinality(String), String),
    EventName String,
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentUnixNano UInt64,
    ObservedUnixNano UInt64,
    Flags UInt32,
    SentSeverityNumber Int32,
    DroppedAttributes UInt32
) ENGINE = Null;

CREATE TABLE otel_logs_quarantine (
    Timestamp DateTime64(9, 'UTC'),
    TraceId String,
    SpanId String,
    TraceFlags UInt8,
    SeverityText LowCardinality(String),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String),
    Body String,
    ResourceSchemaUrl LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeSchemaUrl LowCardinality(String),
    ScopeName String,
    ScopeVersion LowCardinality(String),
    ScopeAttributes Map(LowCardinality(String), String),
    LogAttributes Map(LowCardinality(String), String),
    EventName String,
    TenantId LowCardinality(String),
    IngestedAt DateTime64(3, 'UTC'),
    SegmentId LowCardinality(String),
    TimeQuality LowCardinality(String),
    SentUnixNano UInt64,
    ObservedUnixNano UInt64,
    Flags UInt32,
    SentSeverityNumber Int32,
    DroppedAttributes UInt32,
    LoadedAt DateTime64(6, 'UTC') DEFAULT nowInBlock64(6)
) ENGINE = MergeTree
PARTITION BY toStartOfMonth(IngestedAt)
ORDER BY (TimeQuality, SegmentId)
TTL toDateTime(IngestedAt) + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW otlp_logs_redact TO otlp_logs_redacted AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    TraceFlags,
    SeverityText,
    SeverityNumber,
    ServiceName,
    Body,
    ResourceSchemaUrl,
    ResourceAttributes,
    ScopeSchemaUrl,
    ScopeName,
    ScopeVersion,
    ScopeAttributes,
    LogAttributes,
    EventName,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentUnixNano,
    ObservedUnixNano,
    Flags,
    SentSeverityNumber,
    DroppedAttributes
FROM otlp_logs_decoded;

CREATE MATERIALIZED VIEW otlp_logs_to_quarantine TO otel_logs_quarantine AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    TraceFlags,
    SeverityText,
    SeverityNumber,
    ServiceName,
    Body,
    ResourceSchemaUrl,
    ResourceAttributes,
    ScopeSchemaUrl,
    ScopeName,
    ScopeVersion,
    ScopeAttributes,
    LogAttributes,
    EventName,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentUnixNano,
    ObservedUnixNano,
    Flags,
    SentSeverityNumber,
    DroppedAttributes
FROM otlp_logs_redacted
WHERE TimeQuality IN ('start_missing', 'start_too_early', 'start_too_late', 'end_too_early', 'end_too_late', 'time_too_early', 'time_too_late');

CREATE MATERIALIZED VIEW otlp_logs_to_otel_logs TO otel_logs AS
SELECT
    Timestamp,
    TraceId,
    SpanId,
    TraceFlags,
    SeverityText,
    SeverityNumber,
    ServiceName,
    Body,
    ResourceSchemaUrl,
    ResourceAttributes,
    ScopeSchemaUrl,
    ScopeName,
    ScopeVersion,
    ScopeAttributes,
    LogAttributes,
    EventName,
    TenantId,
    IngestedAt,
    SegmentId,
    TimeQuality,
    SentUnixNano,
    ObservedUnixNano,
    Flags,
    SentSeverityNumber,
    DroppedAttributes
FROM otlp_logs_redacted
WHERE TimeQuality NOT IN ('start_missing', 'start_too_early', 'start_too_late', 'end_too_early', 'end_too_late', 'time_too_early', 'time_too_late');

CREATE MATERIALIZED VIEW otlp_logs_decode TO otlp_logs_decoded AS
SELECT
    fromUnixTimestamp64Nano(toInt64(if(startsWith(TimeQuality, 'time_'), received, at)), 'UTC') AS Timestamp,
    multiIf(length(trace_id) != 16, '', trace_id = unhex('00000000000000000000000000000000'), '', lower(hex(trace_id))) AS TraceId,
    multiIf(length(span_id) != 8, '', span_id = unhex('0000000000000000'), '', lower(hex(span_id))) AS SpanId,
    toUInt8(bitAnd(flags, 255)) AS TraceFlags,
    severity_text AS SeverityText,
    if(toInt32(toUInt8(severity)) = severity, toUInt8(severity), 0) AS SeverityNumber,
    shared[1]['service.name'] AS ServiceName,
    mapValues(printed[2])[1] AS Body,
    resource_schema AS ResourceSchemaUrl,
    shared[1] AS ResourceAttributes,
    scope_schema AS ScopeSchemaUrl,
    scope_name AS ScopeName,
    scope_version AS ScopeVersion,
    shared[2] AS ScopeAttributes,
    printed[1] AS LogAttributes,
    event_name AS EventName,
    tenant AS TenantId,
    fromUnixTimestamp64Nano(toInt64(received), 'UTC') AS IngestedAt,
    substringIndex(getSetting('insert_deduplication_token'), '#', 1) AS SegmentId,
    TimeQuality,
    time AS SentUnixNano,
    observed AS ObservedUnixNano,
    flags AS Flags,
    severity AS SentSeverityNumber,
    dropped AS DroppedAttributes,
    redaction_keys AS RedactionKeys
FROM (
    SELECT
        tenant,
        received,
        earliest,
        latest,
        redaction_keys,
        resource_schema,
        scope_name,
        scope_version,
        scope_schema,
        shared,
        time,
        observed,
        severity,
        severity_text,
        flags,
        trace_id,
        span_id,
        event_name,
        dropped,
        arrayMap((keys, values) -> CAST(arraySort((pair, at) -> (pair.1, at), arrayMap((key, value) -> (key, multiIf(value.o = 's', value.s, value.o = 'i', toString(value.i), value.o = 'd', if(isFinite(value.d), replaceOne(replaceOne(toString(value.d), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(value.d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))), value.o = 'b', toString(value.b), value.o = 'y', base64Encode(value.y), value.o = 'n', '', concat(if(value.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k3, v3) -> concat(k3, multiIf(v3.o = 's', toJSONString(toValidUTF8(v3.s)), v3.o = 'i', toString(v3.i), v3.o = 'd', replaceOne(replaceOne(toJSONString(v3.d), 'e', 'e+'), 'e+-', 'e-'), v3.o = 'b', toString(v3.b), v3.o = 'y', toJSONString(base64Encode(v3.y)), v3.o = 'n', 'null', concat(if(v3.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k2, v2) -> concat(k2, multiIf(v2.o = 's', toJSONString(toValidUTF8(v2.s)), v2.o = 'i', toString(v2.i), v2.o = 'd', replaceOne(replaceOne(toJSONString(v2.d), 'e', 'e+'), 'e+-', 'e-'), v2.o = 'b', toString(v2.b), v2.o = 'y', toJSONString(base64Encode(v2.y)), v2.o = 'n', 'null', concat(if(v2.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k1, v1) -> concat(k1, multiIf(v1.o = 's', toJSONString(toValidUTF8(v1.s)), v1.o = 'i', toString(v1.i), v1.o = 'd', replaceOne(replaceOne(toJSONString(v1.d), 'e', 'e+'), 'e+-', 'e-'), v1.o = 'b', toString(v1.b), v1.o = 'y', toJSONString(base64Encode(v1.y)), v1.o = 'n', 'null', concat('{"otlp.', if(v1.o = 'a', 'array', 'kvlist'), '_value":"', base64Encode(concat(v1.a, v1.k)), '"}'))), arrayResize(arrayMap(k1 -> concat(toJSONString(toValidUTF8(k1)), ':'), arraySort(v2.`k.v.key`)), length(v2.`a.v`) + length(v2.`k.v.value`)), arrayConcat(v2.`a.v`, arraySort((v1, k1, i1) -> (k1, i1), v2.`k.v.value`, v2.`k.v.key`, arrayEnumerate(v2.`k.v.key`)))), ','), if(v2.o = 'a', ']', '}')))), arrayResize(arrayMap(k2 -> concat(toJSONString(toValidUTF8(k2)), ':'), arraySort(v3.`k.v.key`)), length(v3.`a.v`) + length(v3.`k.v.value`)), arrayConcat(v3.`a.v`, arraySort((v2, k2, i2) -> (k2, i2), v3.`k.v.value`, v3.`k.v.key`, arrayEnumerate(v3.`k.v.key`)))), ','), if(v3.o = 'a', ']', '}')))), arrayResize(arrayMap(k3 -> concat(toJSONString(toValidUTF8(k3)), ':'), arraySort(value.`k.v.key`)), length(value.`a.v`) + length(value.`k.v.value`)), arrayConcat(value.`a.v`, arraySort((v3, k3, i3) -> (k3, i3), value.`k.v.value`, value.`k.v.key`, arrayEnumerate(value.`k.v.key`)))), ','), if(value.o = 'a', ']', '}')))), keys, values), arrayEnumerate(keys)), 'Map(LowCardinality(String), String)'), arrayConcat([la_key], [['']]), arrayConcat([la_value], [[body]])) AS printed,
        if(time = 0, observed, time) AS at,
        multiIf(at = 0, 'time_missing', at < earliest, 'time_too_early', at > latest, 'time_too_late', at < received - 315619200000000000, 'time_implausible', at > received + 300000000000, 'ahead', '') AS TimeQuality
    FROM (
        SELECT
            tenant,
            received,
            earliest,
            latest,
            redaction_keys,
            resource_schema,
            scope_name,
            scope_version,
            scope_schema,
            arrayMap((keys, values) -> CAST(arraySort((pair, at) -> (pair.1, at), arrayMap((key, value) -> (key, multiIf(value.o = 's', value.s, value.o = 'i', toString(value.i), value.o = 'd', if(isFinite(value.d), replaceOne(replaceOne(toString(value.d), 'e', 'e+'), 'e+-', 'e-'), concat('json: unsupported value: ', transform(toString(value.d), ['nan', '-nan', 'inf', '-inf'], ['NaN', 'NaN', '+Inf', '-Inf']))), value.o = 'b', toString(value.b), value.o = 'y', base64Encode(value.y), value.o = 'n', '', concat(if(value.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k3, v3) -> concat(k3, multiIf(v3.o = 's', toJSONString(toValidUTF8(v3.s)), v3.o = 'i', toString(v3.i), v3.o = 'd', replaceOne(replaceOne(toJSONString(v3.d), 'e', 'e+'), 'e+-', 'e-'), v3.o = 'b', toString(v3.b), v3.o = 'y', toJSONString(base64Encode(v3.y)), v3.o = 'n', 'null', concat(if(v3.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k2, v2) -> concat(k2, multiIf(v2.o = 's', toJSONString(toValidUTF8(v2.s)), v2.o = 'i', toString(v2.i), v2.o = 'd', replaceOne(replaceOne(toJSONString(v2.d), 'e', 'e+'), 'e+-', 'e-'), v2.o = 'b', toString(v2.b), v2.o = 'y', toJSONString(base64Encode(v2.y)), v2.o = 'n', 'null', concat(if(v2.o = 'a', '[', '{'), arrayStringConcat(arrayMap((k1, v1) -> concat(k1, multiIf(v1.o = 's', toJSONString(toValidUTF8(v1.s)), v1.o = 'i', toString(v1.i), v1.o = 'd', replaceOne(replaceOne(toJSONString(v1.d), 'e', 'e+'), 'e+-', 'e-'), v1.o = 'b', toString(v1.b), v1.o = 'y', toJSONString(base64Encode(v1.y)), v1.o = 'n', 'null', concat('{"otlp.', if(v1.o = 'a', 'array', 'kvlist'), '_value":"', base64Encode(concat(v1.a, v1.k)), '"}'))), arrayResize(arrayMap(k1 -> concat(toJSONString(toValidUTF8(k1)), ':'), arraySort(v2.`k.v.key`)), length(v2.`a.v`) + length(v2.`k.v.value`)), arrayConcat(v2.`a.v`, arraySort((v1, k1, i1) -> (k1, i1), v2.`k.v.value`, v2.`k.v.key`, arrayEnumerate(v2.`k.v.key`)))), ','), if(v2.o = 'a', ']', '}')))), arrayResize(arrayMap(k2 -> concat(toJSONString(toValidUTF8(k2)), ':'), arraySort(v3.`k.v.key`)), length(v3.`a.v`) + length(v3.`k.v.value`)), arrayConcat(v3.`a.v`, arraySort((v2, k2, i2) -> (k2, i2), v3.`k.v.value`, v3.`k.v.key`, arrayEnumerate(v3.`k.v.key`)))), ','), if(v3.o = 'a', ']', '}')))), arrayResize(arrayMap(k3 -> concat(toJSONString(toValidUTF8(k3)), ':'), arraySort(value.`k.v.key`)), length(value.`a.v`) + length(value.`k.v.value`)), arrayConcat(value.`a.v`, arraySort((v3, k3, i3) -> (k3, i3), value.`k.v.value`, value.`k.v.key`, arrayEnumerate(value.`k.v.key`)))), ','), if(value.o = 'a', ']', '}')))), keys, values), arrayEnumerate(keys)), 'Map(LowCardinality(String), String)'), arrayConcat([ra_key], [ca_key]), arrayConcat([ra_value], [ca_value])) AS shared,
            time,
            observed,
            severity,
            severity_text,
            flags,
            trace_id,
            span_id,
            event_name,
            dropped,
            la_key,
            la_value,
            body
        FROM (
            SELECT
                ra_key,
                ra_value,
                resource_schema,
                tenant[-1] AS tenant,
                if(received_unix_nano BETWEEN 946684800000000000 AND 7258118400000000000, received_unix_nano, toUInt64(toUnixTimestamp64Nano(now64(9)))) AS received,
                toUInt64OrDefault(extract(getSetting('query_cache_tag'), 'from ([0-9]+) s'), toUInt64(946684800)) * 1000000000 AS earliest,
                received + toUInt64OrDefault(extract(getSetting('query_cache_tag'), 'to ([0-9]+) s'), toUInt64(86400)) * 1000000000 AS latest,
                redaction_keys,
                ca_key,
                ca_value,
                scope_name,
                scope_version,
                scope_schema,
                time,
                observed,
                severity,
                severity_text,
                flags,
                trace_id,
                span_id,
                event_name,
                dropped,
                la_key,
                la_value,
                body
            FROM otlp_logs_inbox
            ARRAY JOIN
                `resource_logs.resource.attributes.key` AS ra_key,
                `resource_logs.resource.attributes.value` AS ra_value,
                `resource_logs.schema_url` AS resource_schema,
                `resource_logs.scope_logs.scope.attributes.key` AS ca_key,
                `resource_logs.scope_logs.scope.attributes.value` AS ca_value,
                `resource_logs.scope_logs.scope.name` AS scope_name,
                `resource_logs.scope_logs.scope.version` AS scope_version,
                `resource_logs.scope_logs.schema_url` AS scope_schema,
                `resource_logs.scope_logs.log_records.time_unix_nano` AS time,
                `resource_logs.scope_logs.log_records.observed_time_unix_nano` AS observed,
                `resource_logs.scope_logs.log_records.severity_number` AS severity,
                `resource_logs.scope_logs.log_records.severity_text` AS severity_text,
                `resource_logs.scope_logs.log_records.flags` AS flags,
                `resource_logs.scope_logs.log_records.trace_id` AS trace_id,
                `resource_logs.scope_logs.log_records.span_id` AS span_id,
                `resource_logs.scope_logs.log_records.event_name` AS event_name,
                `resource_logs.scope_logs.log_records.dropped_attributes_count` AS dropped,
                `resource_logs.scope_logs.log_records.attributes.key` AS la_key,
                `resource_logs.scope_logs.log_records.attributes.value` AS la_value,
                `resource_logs.scope_logs.log_records.body` AS body
        )
        ARRAY JOIN
            ca_key AS ca_key,
            ca_value AS ca_value,
            scope_name AS scope_name,
            scope_version AS scope_version,
            scope_schema AS scope_schema,
            time AS time,
            observed AS observed,
            severity AS severity,
            severity_text AS severity_text,
            flags AS flags,
            trace_id AS trace_id,
            span_id AS span_id,
            event_name AS event_name,
            dropped AS dropped,
            la_key AS la_key,
            la_value AS la_value,
            body AS body
    )
    ARRAY JOIN
        time AS time,
        observed AS observed,
        severity AS severity,
        severity_text AS severity_text,
        flags AS flags,
        trace_id AS trace_id,
        span_id AS span_id,
        event_name AS event_name,
        dropped AS dropped,
        la_key AS la_key,
        la_value AS la_value,
        body AS body
);
