-- Decisions whose notification is missing: the worker stopped between the two writes.
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
WHERE decided_at >= {since:DateTime64(6, 'UTC')}
    AND notification_id != ''
    AND notification_id NOT IN (SELECT id FROM deliveries WHERE created_at >= {since:DateTime64(6, 'UTC')})
ORDER BY decided_at, dedup_key
LIMIT {limit:UInt32}
