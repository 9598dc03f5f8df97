-- Spans that entered the store since the engine's position and are not steps yet, oldest first. What the last cycle read to
-- its end is left out by parts, which never change: a look back over minutes must not read all that came in them.
SELECT
    TraceId AS trace_id,
    SpanId AS span_id,
    ServiceName AS service,
    SpanName AS name,
    toDateTime64(Timestamp, 6, 'UTC') AS started_at,
    Duration AS duration_ns,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') AS failed,
    mapFilter((name, value) -> startsWith(name, 'controltower.'), SpanAttributes) AS attributes,
    arrayMap(
        (name, line) -> line,
        arrayFilter((name, line) -> name = 'controltower.line', arrayZip(Events.Name, Events.Attributes)) AS found
    ) AS lines,
    toDateTime64(LoadedAt, 6, 'UTC') AS loaded_at
FROM otel_traces
WHERE LoadedAt >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND (LoadedAt, TraceId, SpanId) IN (  -- first which, then what: attributes and events only of those that are taken
        SELECT
            LoadedAt,
            TraceId,
            SpanId
        FROM otel_traces
        WHERE _part NOT IN (SELECT type FROM engine_lookup WHERE batch = {batch:UInt64})
            AND LoadedAt >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
            AND TraceId != ''
            AND SpanId != ''
            AND (
                arrayExists(prefix -> startsWith(SpanAttributes['controltower.step'], prefix), {prefixes:Array(String)})
                OR has({matches:Array(String)}, concat(ServiceName, '\n', SpanName))
            )
            AND (TraceId, SpanId) NOT IN (
                SELECT
                    trace_id,
                    span_id
                FROM steps
                WHERE loaded_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
                    AND version >= {generation:UInt64}  -- a changed flow looks at every span again
                    AND version <= {completed:UInt64}  -- and so does a cycle that was cut off
            )
        ORDER BY LoadedAt, TraceId, SpanId
        LIMIT 1 BY TraceId, SpanId
        LIMIT {limit:UInt32}
    )
    AND (
        arrayExists(prefix -> startsWith(SpanAttributes['controltower.step'], prefix), {prefixes:Array(String)})
        OR has({matches:Array(String)}, concat(ServiceName, '\n', SpanName))
    )
ORDER BY LoadedAt, TraceId, SpanId
LIMIT 1 BY TraceId, SpanId
