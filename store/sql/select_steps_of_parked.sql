-- The steps behind a page of parked rows.
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
WHERE (flow, trace_id, span_id) IN {spans:Array(Tuple(String, String, String))}
LIMIT {limit:UInt32}
