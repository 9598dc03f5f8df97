-- The steps that belong to the looked-up transactions.
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
    AND (anchor.type, anchor.value, anchor.scope) IN (
        SELECT
            type,
            value,
            scope
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
