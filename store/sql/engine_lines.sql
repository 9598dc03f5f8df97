-- Document lines of the looked-up steps.
SELECT
    flow,
    trace_id,
    span_id,
    position,
    line,
    item,
    quantity,
    uom,
    unit_price,
    amount,
    currency,
    keys,
    version
FROM document_lines FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
ORDER BY trace_id, span_id, position
