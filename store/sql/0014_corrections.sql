-- What people decided about links, and why: appended, never changed and never deleted. What holds is worked out of all of it.
CREATE TABLE corrections (
    id String,
    flow LowCardinality(String),
    action LowCardinality(String),
    key Tuple(type LowCardinality(String), scope String, value String),
    trace_id String,
    span_id String,
    other Tuple(type LowCardinality(String), scope String, value String),
    undoes String,
    user String,
    reason String,
    at DateTime64(6, 'UTC')
) ENGINE = MergeTree
ORDER BY (flow, at, id)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;
