-- Notifications for people: those in one state (all when empty), the latest first.
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
WHERE {state:String} IN ('', state)
ORDER BY created_at DESC, id
LIMIT {limit:UInt32}
