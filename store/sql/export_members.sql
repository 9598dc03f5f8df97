-- Which step belongs to which transaction, page by page in the order of the table.
SELECT
    anchor.type AS type,
    anchor.scope AS scope,
    anchor.value AS value,
    trace_id,
    span_id,
    evidence
FROM transaction_steps FINAL
WHERE flow = {flow:String}
    AND (anchor.type, anchor.value, anchor.scope, trace_id, span_id)
    > ({type:String}, {value:String}, {scope:String}, {trace_id:String}, {span_id:String})
ORDER BY anchor.type, anchor.value, anchor.scope, trace_id, span_id
LIMIT {limit:UInt32}
