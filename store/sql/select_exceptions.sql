-- Exceptions of one transaction, the open ones first. The table keeps deleted rows visible to FINAL.
SELECT
    flow,
    anchor,
    kind,
    rule,
    subject,
    reason,
    severity,
    opened_at,
    resolved_at,
    amount,
    currency,
    detail,
    system,
    counterparty,
    batch,
    is_deleted,
    version
FROM exceptions FINAL
WHERE flow = {flow:String}
    AND anchor.type = {type:String}
    AND anchor.value = {value:String}
    AND anchor.scope = {scope:String}
    AND NOT is_deleted
ORDER BY resolved_at IS NOT NULL, opened_at DESC, kind, rule, subject
LIMIT {limit:UInt32}
