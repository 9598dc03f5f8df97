-- Which policy was in force since when; what the load and the collector removed by it is counted below.
CREATE TABLE redaction_policies (
    AppliedAt DateTime64(3, 'UTC') DEFAULT now64(3),
    Policy String,
    Version UInt32,
    Digest String COMMENT 'SHA-256 of what the policy says, whatever its comments',
    KeyVersions Array(UInt16) COMMENT 'of the keys of tokens, the present one first; never the keys'
) ENGINE = MergeTree
ORDER BY AppliedAt;

-- Rows in which a rule changed a field, by day. Only the audit is read, which names rules and no values.
CREATE TABLE redactions (
    Day Date,
    Signal LowCardinality(String),
    TenantId LowCardinality(String),
    ServiceName LowCardinality(String),
    Field LowCardinality(String),
    Rule LowCardinality(String),
    Rows UInt64,
    Times UInt64
) ENGINE = SummingMergeTree((Rows, Times))
PARTITION BY toStartOfMonth(Day)
ORDER BY (Day, Signal, TenantId, ServiceName, Field, Rule)
TTL Day + INTERVAL 400 DAY
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW otel_traces_to_redactions TO redactions AS
SELECT
    toDate(IngestedAt) AS Day,
    'traces' AS Signal,
    TenantId,
    ServiceName,
    substring(done, 1, position(done, ':') - 1) AS Field,
    extract(done, ':([a-z0-9_-]+)=') AS Rule,
    count() AS Rows,
    sum(toUInt64OrZero(extract(done, '=([0-9]+)$'))) AS Times
FROM otlp_traces_redacted
ARRAY JOIN splitByChar(' ', SpanAttributes['controltower.redacted']) AS done
WHERE done != ''
GROUP BY Day, TenantId, ServiceName, Field, Rule;

CREATE MATERIALIZED VIEW otel_logs_to_redactions TO redactions AS
SELECT
    toDate(IngestedAt) AS Day,
    'logs' AS Signal,
    TenantId,
    ServiceName,
    substring(done, 1, position(done, ':') - 1) AS Field,
    extract(done, ':([a-z0-9_-]+)=') AS Rule,
    count() AS Rows,
    sum(toUInt64OrZero(extract(done, '=([0-9]+)$'))) AS Times
FROM otlp_logs_redacted
ARRAY JOIN splitByChar(' ', LogAttributes['controltower.redacted']) AS done
WHERE done != ''
GROUP BY Day, TenantId, ServiceName, Field, Rule;

CREATE MATERIALIZED VIEW otel_metrics_to_redactions TO redactions AS
SELECT
    toDate(IngestedAt) AS Day,
    'metrics' AS Signal,
    TenantId,
    ServiceName,
    substring(done, 1, position(done, ':') - 1) AS Field,
    extract(done, ':([a-z0-9_-]+)=') AS Rule,
    count() AS Rows,
    sum(toUInt64OrZero(extract(done, '=([0-9]+)$'))) AS Times
FROM otlp_metrics_redacted
ARRAY JOIN splitByChar(' ', Attributes['controltower.redacted']) AS done
WHERE done != ''
GROUP BY Day, TenantId, ServiceName, Field, Rule;
