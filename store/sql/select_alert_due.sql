-- Notifications whose time has come, the most severe and the most expensive first. A notification waits for the earlier
-- ones about the same thing, so that "resolved" never overtakes "firing". The body is read in a second step.
SELECT
    id,
    created_at,
    count() OVER () AS due
FROM (
    SELECT
        id,
        created_at,
        next_attempt_at,
        severity_rank,
        amount
    FROM deliveries FINAL
    WHERE state = 'pending'
        AND channel = {channel:String}
        AND created_at >= {since:DateTime64(6, 'UTC')}
    ORDER BY dedup_key, sequence
    LIMIT 1 BY dedup_key
)
WHERE next_attempt_at <= {now:DateTime64(6, 'UTC')}
ORDER BY severity_rank DESC, amount DESC, created_at, id
LIMIT {limit:UInt32}
