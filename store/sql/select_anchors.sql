-- Transactions that a business key leads to: those it anchors, and those with a step that carries it. A value that anchors
-- a transaction leads to that one only: a receipt for two orders must not bring the second order into view.
WITH own AS (
    SELECT
        flow,
        anchor.type AS type,
        anchor.scope AS scope,
        anchor.value AS value
    FROM transactions FINAL
    WHERE anchor.value IN {values:Array(String)}
        AND ({type:String} = '' OR anchor.type = {type:String})
        AND ({flow:String} = '' OR flow = {flow:String})
    LIMIT {limit:UInt32}
)
SELECT DISTINCT
    flow,
    type,
    scope,
    value
FROM (
    SELECT
        flow,
        type,
        scope,
        value
    FROM own
    UNION ALL
    SELECT
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
        WHERE value IN {values:Array(String)}
            AND ({type:String} = '' OR type = {type:String})
            AND ({flow:String} = '' OR flow = {flow:String})
            AND (flow, type, value) NOT IN (SELECT flow, type, value FROM own)
        LIMIT {steps:UInt32}
    )
)
ORDER BY flow, type, value, scope
LIMIT {limit:UInt32}
