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
FROM otel_traces_quarantine;
