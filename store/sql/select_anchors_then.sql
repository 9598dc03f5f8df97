-- Transactions that a key led to at a time, those that are gone since included. As now: a value that anchored a transaction
-- leads to that one only.
WITH own AS (
    SELECT DISTINCT flow, anchor
    FROM transaction_history
    WHERE anchor.value IN {values:Array(String)}
        AND known_at <= {then:DateTime64(6, 'UTC')}
        AND ({type:String} = '' OR anchor.type = {type:String})
        AND ({flow:String} = '' OR flow = {flow:String})
),
carrying AS (
    SELECT flow, trace_id, span_id
    FROM step_keys
    WHERE value IN {values:Array(String)}
        AND ({type:String} = '' OR type = {type:String})
        AND ({flow:String} = '' OR flow = {flow:String})
        AND (flow, type, value) NOT IN (SELECT flow, anchor.type, anchor.value FROM own)
    LIMIT {steps:UInt32}
)
SELECT DISTINCT
    flow,
    anchor.type AS type,
    anchor.scope AS scope,
    anchor.value AS value
FROM (
    SELECT flow, anchor
    FROM own
    UNION ALL
    SELECT flow, anchor
    FROM transaction_steps FINAL
    WHERE known_at <= {then:DateTime64(6, 'UTC')}
        AND (flow, trace_id, span_id) IN (SELECT flow, trace_id, span_id FROM carrying)
    UNION ALL
    SELECT flow, anchor
    FROM past_memberships
    WHERE known_at <= {then:DateTime64(6, 'UTC')}
        AND known_until > {then:DateTime64(6, 'UTC')}
        AND (flow, trace_id, span_id) IN (SELECT flow, trace_id, span_id FROM carrying)
)
ORDER BY flow, type, value, scope
LIMIT {limit:UInt32}
