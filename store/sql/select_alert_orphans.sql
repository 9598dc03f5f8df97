-- Decisions whose notification is missing: the worker stopped between the two writes.
SELECT *
FROM alerts FINAL
WHERE decided_at >= {since:DateTime64(6, 'UTC')}
    AND notification_id != ''
    AND notification_id NOT IN (SELECT id FROM deliveries WHERE created_at >= {since:DateTime64(6, 'UTC')})
ORDER BY decided_at, dedup_key
LIMIT {limit:UInt32}
