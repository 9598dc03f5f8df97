-- Some members of a transaction. Without FINAL, which reads all columns wherever an id could be, in each part of the
-- table: this reads the ids alone there, and takes the latest version of what it finds.
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
FROM steps
WHERE flow = {flow:String}
    AND (trace_id, span_id) IN {members:Array(Tuple(String, String))}  -- the primary key: their granules only
ORDER BY trace_id, span_id, version DESC
LIMIT 1 BY trace_id, span_id
LIMIT {limit:UInt32}
