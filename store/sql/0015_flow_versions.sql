-- Flows that were published, in place of those that ship or besides them, and how far each came: appended, never changed.
CREATE TABLE flow_versions (
    flow LowCardinality(String),
    version UInt32,
    state LowCardinality(String),
    text String CODEC(ZSTD(1)),
    shadow String,
    snapshot UInt64,
    user String,
    at DateTime64(6, 'UTC')
) ENGINE = MergeTree
ORDER BY (flow, version, at)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
