-- Deadlines that are over while the source that would tell is silent: what the engine looks at again when it is heard of.
ALTER TABLE deadlines ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER currency;

CREATE TABLE awaited_deadlines (
    flow LowCardinality(String),
    source LowCardinality(String),
    due_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    rule LowCardinality(String),
    subject String,
    is_deleted UInt8,
    version UInt64
) ENGINE = ReplacingMergeTree(version, is_deleted)
ORDER BY (flow, source, due_at, anchor.type, anchor.value, anchor.scope, rule, subject)
SETTINGS
    index_granularity = 256,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
