-- Spans that carry a business key, whether or not they are steps.
SELECT
    Type AS type,
    Scope AS scope,
    Value AS value,
    TraceId AS trace_id,
    SpanId AS span_id,
    ServiceName AS system,
    SpanName AS span_name,
    Timestamp AS at
FROM span_keys
WHERE Value IN {values:Array(String)}
    AND ({type:String} = '' OR Type = {type:String})
ORDER BY Timestamp DESC, TraceId, SpanId
LIMIT 1 BY Type, Scope, Value, TraceId, SpanId
LIMIT {limit:UInt32}
