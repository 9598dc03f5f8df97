-- What was known of one transaction, and when.
SELECT
    flow,
    anchor,
    known_at,
    state,
    previous_state,
    stage,
    steps,
    at_stake,
    verdicts,
    version,
    flow_version
FROM transaction_history FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
ORDER BY known_at, version
LIMIT {limit:UInt32}
