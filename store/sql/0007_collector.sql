-- What each collector says about itself every few seconds: gauges as they are, counters as what was added since it last
-- said so. So a sum over a time range is what happened in it, whatever was restarted meanwhile.
CREATE TABLE collector_samples (
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    collector LowCardinality(String) COMMENT 'host and port',
    name LowCardinality(String) COMMENT 'as in /metrics, without the prefix',
    signal LowCardinality(String),
    reason LowCardinality(String),
    labels Map(LowCardinality(String), String) COMMENT 'the others',
    value Float64 CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (name, collector, at)
TTL toDateTime(at) + INTERVAL 14 DAY
SETTINGS ttl_only_drop_parts = 1;
