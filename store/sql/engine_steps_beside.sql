-- The ids of the steps of the looked-up traces: by the order of the table, so that traces without a step cost a granule.
SELECT DISTINCT
    trace_id,
    span_id
FROM steps
WHERE flow = {flow:String}
    AND trace_id IN (
        SELECT type
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
