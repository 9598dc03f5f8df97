-- Requests that were not taken, by reason, the most frequent first.
SELECT
    reason,
    signal,
    toUInt64(sum(value)) AS requests,
    max(at) AS last_at
FROM collector_samples
WHERE name = 'requests_refused'
    AND at >= {since:DateTime64(3, 'UTC')}
    AND at < {until:DateTime64(3, 'UTC')}
GROUP BY reason, signal
ORDER BY requests DESC, reason, signal
LIMIT {limit:UInt32}
