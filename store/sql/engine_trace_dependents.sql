-- Steps of the looked-up traces whose place depends on what stands beside them: joined by it, or parked.
SELECT
    trace_id,
    span_id
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND evidence IN ('trace', 'link')
    AND trace_id IN (
        SELECT type
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
UNION DISTINCT
SELECT
    trace_id,
    span_id
FROM parked_steps FINAL
WHERE flow = {flow:String}
    AND trace_id IN (
        SELECT type
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
