-- Notifications that waited longer than anyone may wait.
SELECT
    id,
    channel,
    dedup_key,
    sequence,
    event,
    decision,
    severity,
    severity_rank,
    amount,
    body,
    state,
    attempt,
    next_attempt_at,
    last_error,
    response_status,
    created_at,
    updated_at,
    sent_at,
    version
FROM deliveries FINAL
WHERE state = 'pending'
    AND created_at < {before:DateTime64(6, 'UTC')}
    AND created_at >= {since:DateTime64(6, 'UTC')}
ORDER BY created_at, id
LIMIT {limit:UInt32}
