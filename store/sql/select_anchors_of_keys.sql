-- Transactions with a step that carries one of some keys, whatever their scopes.
SELECT DISTINCT
    flow,
    anchor.type AS type,
    anchor.scope AS scope,
    anchor.value AS value
FROM transaction_steps FINAL
WHERE (flow, trace_id, span_id) IN (
    SELECT
        flow,
        trace_id,
        span_id
    FROM step_keys
    WHERE (flow, type, value) IN {keys:Array(Tuple(String, String, String))}
    LIMIT {steps:UInt32}
)
ORDER BY flow, type, value, scope
LIMIT {limit:UInt32}
