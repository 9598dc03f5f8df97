-- The outbox at a glance: what waits, what failed, what was given up.
SELECT
    countIf(state = 'pending') AS pending,
    countIf(state = 'pending' AND next_attempt_at <= {now:DateTime64(6, 'UTC')}) AS due,
    countIf(state = 'pending' AND attempt > 0) AS retrying,
    countIf(state = 'sent') AS sent,
    countIf(state = 'dead') AS dead,
    minIfOrNull(created_at, state = 'pending') AS oldest_pending_at,
    maxIfOrNull(sent_at, state = 'sent') AS last_sent_at,
    argMaxIf(last_error, updated_at, last_error != '') AS last_error
FROM deliveries FINAL
