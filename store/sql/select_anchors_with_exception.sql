-- Transactions with an open exception of a rule, or for a reason.
SELECT
    flow,
    anchor.type,
    anchor.scope,
    anchor.value
FROM exceptions FINAL
WHERE NOT is_deleted
    AND resolved_at IS NULL
    AND ({rule:String} = '' OR rule = {rule:String})
    AND ({reason:String} = '' OR reason = {reason:String})
