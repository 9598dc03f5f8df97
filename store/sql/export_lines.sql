-- Lines of the documents of a flow's steps, page by page in the order of their table.
SELECT
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
    keys
FROM document_lines FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id, position) > ({trace_id:String}, {span_id:String}, {position:UInt32})
ORDER BY trace_id, span_id, position
LIMIT {limit:UInt32}
