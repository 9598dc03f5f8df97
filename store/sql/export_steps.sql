-- Steps of a flow, page by page in the order of their table.
SELECT
    step,
    stage,
    trace_id,
    span_id,
    at,
    observed_at,
    duration_ns,
    system,
    span_name,
    failed,
    outcome,
    reason,
    actor,
    style,
    interface,
    amount,
    currency,
    quantity,
    uom,
    keys,
    ignored_keys,
    context,
    replay_of,
    run_id
FROM steps FINAL
WHERE flow = {flow:String}
    AND (trace_id, span_id) > ({trace_id:String}, {span_id:String})
ORDER BY trace_id, span_id
LIMIT {limit:UInt32}
