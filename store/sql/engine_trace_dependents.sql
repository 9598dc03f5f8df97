-- Which of the looked-up steps depend for their place on what stands beside them: joined by it, or parked.
SELECT
    trace_id,
    span_id
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND evidence IN ('trace', 'link')
    AND (trace_id, span_id) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
UNION DISTINCT
SELECT
    trace_id,
    span_id
FROM parked_steps FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
