-- One page of the exceptions that the engine wrote since a version, in the order of writing. Deleted rows stay visible
-- to FINAL. The skip index on version is safe under FINAL: a newer row of a key has the higher version.
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
WHERE version >= {since:UInt64}
    AND (version, flow, anchor.type, anchor.value, anchor.scope, kind, rule, subject) > (
        {after_version:UInt64},
        {after_flow:String},
        {after_type:String},
        {after_value:String},
        {after_scope:String},
        {after_kind:String},
        {after_rule:String},
        {after_subject:String}
    )
ORDER BY version, flow, anchor.type, anchor.value, anchor.scope, kind, rule, subject
LIMIT {limit:UInt32}
