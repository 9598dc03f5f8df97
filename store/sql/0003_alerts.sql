-- What was decided about exceptions, and the notifications that follow. Readers use FINAL.

-- One row per thing that can alert. `decision` is the last one that changed anything; `sequence` counts notifications.
CREATE TABLE alerts (
    dedup_key String CODEC(ZSTD(1)),
    flow LowCardinality(String),
    anchor Tuple(type LowCardinality(String), scope String, value String) CODEC(ZSTD(1)),
    kind LowCardinality(String),
    rule LowCardinality(String),
    subject String,
    state LowCardinality(String),
    decision LowCardinality(String),
    episode UInt32,
    sequence UInt32,
    announced Bool,
    announced_severity LowCardinality(String),
    notification_id String,
    reason LowCardinality(String),
    severity LowCardinality(String),
    amount Decimal(38, 6),
    currency LowCardinality(String),
    detail String,
    opened_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    resolved_at Nullable(DateTime64(6, 'UTC')),
    first_seen_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    decided_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    exception_version UInt64,
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY dedup_key;

-- The outbox. In order of creation, so that what is pending is found without reading what was sent long ago. Rows expire
-- by the time they were stored: of two versions of a row the older one goes first, and never comes back as the newest.
CREATE TABLE deliveries (
    id String CODEC(ZSTD(1)),
    channel LowCardinality(String),
    dedup_key String CODEC(ZSTD(1)),
    sequence UInt32,
    event LowCardinality(String),
    decision LowCardinality(String),
    severity LowCardinality(String),
    severity_rank UInt8,
    amount Decimal(38, 6),
    body String CODEC(ZSTD(3)),
    state LowCardinality(String),
    attempt UInt32,
    next_attempt_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    last_error String,
    response_status Nullable(UInt16),
    created_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    updated_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    sent_at Nullable(DateTime64(6, 'UTC')),
    version UInt64,
    stored_at DateTime('UTC') DEFAULT now('UTC')
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(created_at)
ORDER BY (created_at, id)
TTL stored_at + INTERVAL 180 DAY;

-- Named facts of the alert worker: how far exceptions were read, which endpoint said that it is gone.
CREATE TABLE alert_state (
    name String,
    value String,
    version UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY name;

-- Who may work now (store/lease.py). The engine keeps one of several inserts with the same token, which is what makes a term the term of
-- one owner: the window below remembers far more tokens than there are workers.
CREATE TABLE leases (
    name String,
    term UInt64,
    owner String,
    until DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(term)
ORDER BY name
SETTINGS non_replicated_deduplication_window = 1000;
