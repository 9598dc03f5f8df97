-- Document lines carried by the members of one transaction.
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
    AND (trace_id, span_id) IN (  -- the primary key: reads the granules of the members only
        SELECT
            trace_id,
            span_id
        FROM transaction_steps FINAL
        WHERE flow = {flow:String}
            AND anchor.type = {type:String}
            AND anchor.value = {value:String}
            AND anchor.scope = {scope:String}
        ORDER BY trace_id, span_id
        LIMIT {limit:UInt32}
    )
ORDER BY trace_id, span_id, position
LIMIT {limit:UInt32}
