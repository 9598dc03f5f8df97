-- What each source of a scraper last said about itself, out of the metrics that it sends every few seconds: one row for each
-- number, so that one that went silent days ago is found without reading days of metrics.
CREATE TABLE source_samples (
    tenant LowCardinality(String),
    host LowCardinality(String) COMMENT 'where the scraper runs',
    source LowCardinality(String),
    name LowCardinality(String) COMMENT 'of the metric, without its prefix',
    at DateTime64(3, 'UTC'),
    began_at DateTime64(3, 'UTC') COMMENT 'since when counts are counted; 1970 for what is no count',
    value Int64,
    words Map(LowCardinality(String), String) COMMENT 'the other attributes: kind, reason, file'
) ENGINE = ReplacingMergeTree(at)
ORDER BY (tenant, source, host, name)
TTL toDateTime(at) + INTERVAL 30 DAY
SETTINGS
    index_granularity = 256,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;

CREATE MATERIALIZED VIEW otel_metrics_gauge_to_source_samples TO source_samples AS
SELECT
    TenantId AS tenant,
    ResourceAttributes['host.name'] AS host,
    Attributes['source'] AS source,
    replaceOne(MetricName, 'controltower.scrape.', '') AS name,
    toDateTime64(TimeUnix, 3, 'UTC') AS at,
    toDateTime64(0, 3, 'UTC') AS began_at,
    ifNull(IntValue, toInt64(Value)) AS value,
    mapFilter((key, text) -> key != 'source', Attributes) AS words
FROM otel_metrics_gauge
WHERE ServiceName = 'controltower-scrape'
    AND startsWith(MetricName, 'controltower.scrape.');

CREATE MATERIALIZED VIEW otel_metrics_sum_to_source_samples TO source_samples AS
SELECT
    TenantId AS tenant,
    ResourceAttributes['host.name'] AS host,
    Attributes['source'] AS source,
    replaceOne(MetricName, 'controltower.scrape.', '') AS name,
    toDateTime64(TimeUnix, 3, 'UTC') AS at,
    toDateTime64(StartTimeUnix, 3, 'UTC') AS began_at,
    ifNull(IntValue, toInt64(Value)) AS value,
    mapFilter((key, text) -> key != 'source', Attributes) AS words
FROM otel_metrics_sum
WHERE ServiceName = 'controltower-scrape'
    AND startsWith(MetricName, 'controltower.scrape.');
