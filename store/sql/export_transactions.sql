-- Verdicts on the transactions of a flow, page by page in the order of the table.
SELECT
    anchor.type AS type,
    anchor.value AS value,
    anchor.scope AS scope,
    flow_version,
    state,
    stage,
    amount,
    currency,
    at_stake
FROM transactions FINAL
WHERE flow = {flow:String}
    AND (anchor.type, anchor.value, anchor.scope) > ({type:String}, {value:String}, {scope:String})
ORDER BY anchor.type, anchor.value, anchor.scope
LIMIT {limit:UInt32}
