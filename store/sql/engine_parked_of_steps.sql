-- The looked-up steps that are parked.
SELECT
    flow,
    trace_id,
    span_id,
    state,
    reason,
    candidates,
    version
FROM parked_steps FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
