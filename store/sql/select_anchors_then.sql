-- Transactions that a key led to at a time, those that are gone since included.
SELECT DISTINCT
    flow,
    anchor.type AS type,
    anchor.scope AS scope,
    anchor.value AS value
FROM (
    SELECT flow, anchor
    FROM transaction_history
    WHERE anchor.value IN {values:Array(String)}
        AND known_at <= {then:DateTime64(6, 'UTC')}
        AND ({type:String} = '' OR anchor.type = {type:String})
    UNION ALL
    SELECT flow, anchor
    FROM past_memberships
    WHERE known_at <= {then:DateTime64(6, 'UTC')}
        AND known_until > {then:DateTime64(6, 'UTC')}
        AND (flow, trace_id, span_id) IN (
            SELECT flow, trace_id, span_id
            FROM step_keys
            WHERE value IN {values:Array(String)} AND ({type:String} = '' OR type = {type:String})
        )
)
WHERE {flow:String} = '' OR flow = {flow:String}
ORDER BY flow, type, value, scope
LIMIT {limit:UInt32}
