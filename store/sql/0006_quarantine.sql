-- What waits for a decision because its times cannot be, of all signals: `controltower quarantine` shows it.
CREATE VIEW otel_quarantine AS
SELECT
    'traces' AS signal,
    TimeQuality AS reason,
    SegmentId AS segment,
    TenantId AS tenant,
    ServiceName AS service,
    SpanName AS name,
    TraceId AS trace_id,
    SpanId AS span_id,
    SentStartUnixNano AS sent_unix_nano,
    SentEndUnixNano AS sent_end_unix_nano,
    IngestedAt AS received_at,
    LoadedAt AS quarantined_at
FROM otel_traces_quarantine
UNION ALL
SELECT
    'logs' AS signal,
    TimeQuality AS reason,
    SegmentId AS segment,
    TenantId AS tenant,
    ServiceName AS service,
    EventName AS name,
    TraceId AS trace_id,
    SpanId AS span_id,
    if(SentUnixNano = 0, ObservedUnixNano, SentUnixNano) AS sent_unix_nano,
    toUInt64(0) AS sent_end_unix_nano,
    IngestedAt AS received_at,
    LoadedAt AS quarantined_at
FROM otel_logs_quarantine
UNION ALL
SELECT
    'metrics' AS signal,
    TimeQuality AS reason,
    SegmentId AS segment,
    TenantId AS tenant,
    ServiceName AS service,
    MetricName AS name,
    '' AS trace_id,
    '' AS span_id,
    if(startsWith(TimeQuality, 'start_'), SentStartUnixNano, SentUnixNano) AS sent_unix_nano,
    SentUnixNano AS sent_end_unix_nano,
    IngestedAt AS received_at,
    LoadedAt AS quarantined_at
FROM otel_metrics_quarantine;
