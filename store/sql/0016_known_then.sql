-- What was known when: of each step in a transaction since when it is known to be there as it is, and what was known before
-- that. A row that is replaced or taken away goes to the past with the time until which it was known.
ALTER TABLE transaction_steps
    ADD COLUMN IF NOT EXISTS known_at DateTime64(6, 'UTC') DEFAULT fromUnixTimestamp64Nano(toInt64(version), 'UTC')
    AFTER anchors;

ALTER TABLE transaction_history
    ADD COLUMN IF NOT EXISTS flow_version UInt32 DEFAULT 0 AFTER at_stake;

CREATE TABLE past_memberships (
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
    known_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    known_until DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (flow, anchor.type, anchor.value, anchor.scope, trace_id, span_id, known_at)
SETTINGS
    index_granularity = 256,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
