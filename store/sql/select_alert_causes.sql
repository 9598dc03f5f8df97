-- Open causes that several exceptions have in common, the most expensive first; of one flow or of all.
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
WHERE kind = 'cause'
    AND state = 'firing'
    AND (empty({flows:Array(String)}) OR flow IN {flows:Array(String)})
ORDER BY
    amount DESC,
    members DESC,
    dedup_key
LIMIT {limit:UInt32}
