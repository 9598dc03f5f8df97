-- What the engine derives from otel_traces. Every table is a ReplacingMergeTree: writing the same row again is harmless,
-- so a cycle that was cut off is simply run again. Readers use FINAL.

CREATE TABLE steps (
    flow LowCardinality(String),
    stage LowCardinality(String),
    step LowCardinality(String),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    observed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    duration_ns UInt64 CODEC(ZSTD(1)),
    system LowCardinality(String),
    span_name LowCardinality(String),
    failed Bool,
    outcome LowCardinality(String),
    reason LowCardinality(String),
    actor LowCardinality(String),
    style LowCardinality(String),
    interface LowCardinality(String),
    amount Nullable(Decimal(38, 6)),
    currency LowCardinality(String),
    quantity Nullable(Decimal(38, 6)),
    uom LowCardinality(String),
    keys Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    ignored_keys Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    context Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    replay_of String,
    run_id String,
    loaded_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt64,
    INDEX loaded_at_minmax loaded_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, trace_id, span_id);

CREATE TABLE document_lines (
    flow LowCardinality(String),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    position UInt32,
    line String,
    item String,
    quantity Nullable(Decimal(38, 6)),
    uom LowCardinality(String),
    unit_price Nullable(Decimal(38, 6)),
    amount Nullable(Decimal(38, 6)),
    currency LowCardinality(String),
    keys Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, trace_id, span_id, position);

-- key -> step, of every step the engine has classified; values are normalised as the flow says.
CREATE TABLE step_keys (
    flow LowCardinality(String),
    type LowCardinality(String),
    value String CODEC(ZSTD(1)),
    scope String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt64,
    INDEX value_bloom value TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, type, value, scope, trace_id, span_id);

CREATE MATERIALIZED VIEW steps_to_step_keys TO step_keys AS
SELECT
    flow,
    key.type AS type,
    key.value AS value,
    key.scope AS scope,
    trace_id,
    span_id,
    at,
    version
FROM (SELECT flow, arrayJoin(keys) AS key, trace_id, span_id, at, version FROM steps);

CREATE TABLE key_links (
    flow LowCardinality(String),
    child Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    parent Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt64,
    INDEX child_bloom child.value TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX parent_bloom parent.value TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, child.type, child.value, child.scope, parent.type, parent.value, parent.scope, trace_id, span_id);

CREATE TABLE transaction_steps (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    stage LowCardinality(String),
    evidence LowCardinality(String),
    via Array(Tuple(
        type LowCardinality(String), scope String, value String,
        evidence LowCardinality(String), trace_id String, span_id String)) CODEC(ZSTD(1)),
    through Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    anchors UInt32,
    is_deleted UInt8,
    version UInt64,
    INDEX trace_bloom trace_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, trace_id, span_id);

CREATE TABLE parked_steps (
    flow LowCardinality(String),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    state LowCardinality(String),
    reason LowCardinality(String),
    candidates Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    is_deleted UInt8,
    version UInt64
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, trace_id, span_id);

CREATE TABLE transactions (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    flow_version UInt32,
    state LowCardinality(String),
    started_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    last_step_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    stage LowCardinality(String),
    stages Array(LowCardinality(String)),
    systems Array(LowCardinality(String)),
    steps UInt32,
    keys Array(Tuple(type LowCardinality(String), scope String, value String)) CODEC(ZSTD(1)),
    context Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    amount Nullable(Decimal(38, 6)),
    currency LowCardinality(String),
    amounts Map(LowCardinality(String), Decimal(38, 6)),
    at_stake Decimal(38, 6),
    open_deadlines UInt32,
    breached_deadlines UInt32,
    next_due_at Nullable(DateTime64(6, 'UTC')),
    open_exceptions UInt32,
    evaluate_at Nullable(DateTime64(6, 'UTC')),
    attributed_steps UInt32,
    human_steps UInt32,
    is_deleted UInt8,
    version UInt64,
    INDEX evaluate_at_minmax evaluate_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope);

CREATE TABLE transaction_history (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    known_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    state LowCardinality(String),
    previous_state LowCardinality(String),
    stage LowCardinality(String),
    steps UInt32,
    at_stake Decimal(38, 6),
    verdicts Map(String, String) CODEC(ZSTD(1)),
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, known_at);

CREATE TABLE deadlines (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    rule LowCardinality(String),
    subject String,
    from_stage LowCardinality(String),
    to_stage LowCardinality(String),
    from_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    due_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    met_at Nullable(DateTime64(6, 'UTC')),
    state LowCardinality(String),
    severity LowCardinality(String),
    system LowCardinality(String),
    at_stake Decimal(38, 6),
    currency LowCardinality(String),
    is_deleted UInt8,
    version UInt64
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, rule, subject);

CREATE TABLE reconciliations (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    rule LowCardinality(String),
    line String,
    item String,
    status LowCardinality(String),
    reason LowCardinality(String),
    quantities Map(LowCardinality(String), Decimal(38, 6)),
    prices Map(LowCardinality(String), Decimal(38, 6)),
    amounts Map(LowCardinality(String), Decimal(38, 6)),
    difference Decimal(38, 6),
    currency LowCardinality(String),
    window_ends_at Nullable(DateTime64(6, 'UTC')),
    rule_version UInt32,
    is_deleted UInt8,
    version UInt64
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, rule, line);

CREATE TABLE exceptions (
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    kind LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    reason LowCardinality(String),
    severity LowCardinality(String),
    opened_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    resolved_at Nullable(DateTime64(6, 'UTC')),
    amount Decimal(38, 6),
    currency LowCardinality(String),
    detail String,
    is_deleted UInt8,
    version UInt64,
    INDEX version_minmax version TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, kind, rule, subject);

-- Freshness of every source: who was last heard of, and when.
CREATE TABLE source_watermarks (
    system LowCardinality(String),
    last_span_at SimpleAggregateFunction(max, DateTime64(9)),
    last_loaded_at SimpleAggregateFunction(max, DateTime64(6)),
    spans SimpleAggregateFunction(sum, UInt64)
) ENGINE = AggregatingMergeTree
ORDER BY system
SETTINGS non_replicated_deduplication_window = 10000;  -- a segment loaded again is not counted again

CREATE MATERIALIZED VIEW otel_traces_to_source_watermarks TO source_watermarks AS
SELECT
    ServiceName AS system,
    max(Timestamp) AS last_span_at,
    max(LoadedAt) AS last_loaded_at,
    count() AS spans
FROM otel_traces
GROUP BY ServiceName;

-- Named positions of the engine: how far spans were read, when the flows changed.
CREATE TABLE engine_state (
    name LowCardinality(String),
    value String,
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY name;

-- Keys that a cycle looks up: lists of thousands go in as rows, not as text of a statement.
CREATE TABLE engine_lookup (
    batch UInt64,
    type String,
    scope String,
    value String
) ENGINE = Memory;
