-- Document lines carried by some members of a transaction.
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
    AND (trace_id, span_id) IN {members:Array(Tuple(String, String))}  -- the primary key: their granules only
ORDER BY trace_id, span_id, position
LIMIT {limit:UInt32}
