-- Announced alerts that are still open and were last told before a moment; not those that still wait to be delivered.
SELECT *
FROM alerts FINAL
WHERE state = 'firing'
    AND announced
    AND decided_at <= {before:DateTime64(6, 'UTC')}
    AND dedup_key NOT IN (
        SELECT dedup_key
        FROM deliveries FINAL
        WHERE state = 'pending' AND created_at >= {since:DateTime64(6, 'UTC')}
    )
ORDER BY decided_at, dedup_key
LIMIT {limit:UInt32}
