-- The steps that carry one of the looked-up keys.
SELECT DISTINCT
    trace_id,
    span_id
FROM step_keys
WHERE flow = {flow:String}
    AND (type, value) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
