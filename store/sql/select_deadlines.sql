-- Deadlines of one transaction, the next one first.
SELECT
    flow,
    anchor,
    rule,
    subject,
    from_stage,
    to_stage,
    from_at,
    due_at,
    met_at,
    state,
    severity,
    system,
    at_stake,
    currency,
    source,
    counterparty,
    waived_by,
    waived_why,
    is_deleted,
    version
FROM deadlines FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
ORDER BY due_at, rule, subject
LIMIT {limit:UInt32}
