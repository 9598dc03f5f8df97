-- Every membership of a flow, to be compared with a truth in one read.
SELECT
    anchor,
    trace_id,
    span_id
FROM transaction_steps FINAL
WHERE flow = {flow:String}
LIMIT {limit:UInt64}
