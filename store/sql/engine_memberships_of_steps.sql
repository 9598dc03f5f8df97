-- The transactions that the looked-up steps belong to.
SELECT
    flow,
    anchor,
    trace_id,
    span_id,
    stage,
    evidence,
    via,
    through,
    anchors,
    known_at,
    version
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
