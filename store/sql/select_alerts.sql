-- Alerts for people: those in one state (all when empty), the latest decision first.
SELECT
    dedup_key,
    flow,
    anchor,
    kind,
    rule,
    subject,
    state,
    decision,
    episode,
    sequence,
    announced,
    announced_severity,
    notification_id,
    reason,
    severity,
    amount,
    currency,
    detail,
    system,
    counterparty,
    batch,
    cause,
    members,
    grows_until,
    opened_at,
    resolved_at,
    first_seen_at,
    decided_at,
    exception_version,
    version
FROM alerts FINAL
WHERE {state:String} IN ('', state)
ORDER BY decided_at DESC, dedup_key
LIMIT {limit:UInt32}
