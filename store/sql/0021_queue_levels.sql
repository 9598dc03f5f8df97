-- How full queues are, as scrapers last said: one row for each number of a queue, or of one group of its readers.
CREATE TABLE queue_samples (
    tenant LowCardinality(String),
    host LowCardinality(String) COMMENT 'where the scraper runs',
    source LowCardinality(String),
    queue String,
    readers String COMMENT 'the group whose view it is; nothing for the queue itself',
    name LowCardinality(String) COMMENT 'of the metric, without its prefix',
    at DateTime64(3, 'UTC'),
    value Int64
) ENGINE = ReplacingMergeTree(at)
ORDER BY (tenant, source, queue, readers, host, name)
TTL toDateTime(at) + INTERVAL 30 DAY
SETTINGS
    index_granularity = 256,
    max_suspicious_broken_parts = 1000000,
    max_suspicious_broken_parts_bytes = 1000000000000;

CREATE MATERIALIZED VIEW otel_metrics_gauge_to_queue_samples TO queue_samples AS
SELECT
    TenantId AS tenant,
    ResourceAttributes['host.name'] AS host,
    Attributes['source'] AS source,
    Attributes['messaging.destination.name'] AS queue,
    Attributes['messaging.consumer.group.name'] AS readers,
    replaceOne(MetricName, 'controltower.queue.', '') AS name,
    toDateTime64(TimeUnix, 3, 'UTC') AS at,
    ifNull(IntValue, toInt64(Value)) AS value
FROM otel_metrics_gauge
WHERE ServiceName = 'controltower-scrape'
    AND startsWith(MetricName, 'controltower.queue.');
