-- Notifications by their ids, created since a moment.
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
WHERE created_at >= {since:DateTime64(6, 'UTC')}
    AND id IN {ids:Array(String)}
