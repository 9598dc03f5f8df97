-- Spans of a few traces between two times (a trace id alone would read every partition).
SELECT
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id,
    SpanName AS name,
    SpanKind AS kind,
    ServiceName AS system,
    Timestamp AS at,
    Duration AS duration_ns,
    StatusCode AS status,
    StatusMessage AS status_message,
    SpanAttributes AS attributes
FROM otel_traces
WHERE TraceId IN {traces:Array(String)}
    AND Timestamp >= {since:DateTime64(6, 'UTC')}
    AND Timestamp <= {until:DateTime64(6, 'UTC')}
ORDER BY Timestamp, TraceId, SpanId
LIMIT 1 BY TraceId, SpanId
LIMIT {limit:UInt32}
