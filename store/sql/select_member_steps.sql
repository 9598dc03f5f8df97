-- The steps that are members of one transaction.
SELECT
    flow,
    stage,
    step,
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
    run_id,
    loaded_at,
    version
FROM steps FINAL
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
ORDER BY at, trace_id, span_id
LIMIT {limit:UInt32}
