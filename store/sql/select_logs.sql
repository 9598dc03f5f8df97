-- Log records of a few traces, and those that carry one of a few keys, between two times; each once, the first ones.
-- The branches are apart because each has its own index: the ids of traces, and the order of the table.
SELECT
    at,
    system,
    severity,
    severity_number,
    event,
    body,
    trace_id,
    span_id,
    attributes,
    max(by_key) AS by_key
FROM (
    SELECT
        Timestamp AS at,
        ServiceName AS system,
        SeverityText AS severity,
        SeverityNumber AS severity_number,
        EventName AS event,
        substringUTF8(Body, 1, {body:UInt32}) AS body,
        TraceId AS trace_id,
        SpanId AS span_id,
        LogAttributes AS attributes,
        false AS by_key
    FROM otel_logs
    WHERE TraceId IN {traces:Array(String)}
        AND toStartOfFiveMinutes(Timestamp) >= toStartOfFiveMinutes({since:DateTime64(6, 'UTC')})
        AND toStartOfFiveMinutes(Timestamp) <= {until:DateTime64(6, 'UTC')}
        AND Timestamp >= {since:DateTime64(6, 'UTC')}
        AND Timestamp <= {until:DateTime64(6, 'UTC')}
    ORDER BY toStartOfFiveMinutes(Timestamp), Timestamp
    LIMIT {limit:UInt32}
    UNION ALL
    SELECT
        Timestamp AS at,
        ServiceName AS system,
        SeverityText AS severity,
        SeverityNumber AS severity_number,
        EventName AS event,
        substringUTF8(Body, 1, {body:UInt32}) AS body,
        TraceId AS trace_id,
        SpanId AS span_id,
        LogAttributes AS attributes,
        true AS by_key
    FROM otel_logs
    WHERE (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp, cityHash64(Body, LogAttributes)) IN (
        SELECT toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp, Record
        FROM log_keys
        WHERE (Type, Value) IN {keys:Array(Tuple(String, String))}
            AND ((Type, Value, Scope) IN {scoped:Array(Tuple(String, String, String))} OR Scope = ''
                OR (Type, Value) IN {anywhere:Array(Tuple(String, String))})
            AND Timestamp >= {since:DateTime64(6, 'UTC')}
            AND Timestamp <= {until:DateTime64(6, 'UTC')}
        ORDER BY Timestamp
        LIMIT {limit:UInt32})
        AND toStartOfFiveMinutes(Timestamp) >= toStartOfFiveMinutes({since:DateTime64(6, 'UTC')})
        AND toStartOfFiveMinutes(Timestamp) <= {until:DateTime64(6, 'UTC')}
    ORDER BY toStartOfFiveMinutes(Timestamp), Timestamp
    LIMIT {limit:UInt32}
)
GROUP BY at, system, severity, severity_number, event, body, trace_id, span_id, attributes
ORDER BY at, system, trace_id, span_id, body
LIMIT {limit:UInt32}
