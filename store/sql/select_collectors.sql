-- The last that each collector said of each signal; what it did not say is 0.
SELECT
    collector,
    signal,
    max(at) AS reported_at,
    argMaxIf(value, at, name = 'lag_seconds') AS lag_s,
    toUInt64(argMaxIf(value, at, name = 'journal_bytes')) AS waiting_bytes,
    toUInt64(argMaxIf(value, at, name = 'journal_used_bytes')) AS used_bytes,
    toUInt64(argMaxIf(value, at, name = 'journal_left_bytes')) AS left_bytes,
    toUInt64(argMaxIf(value, at, name = 'volume_free_bytes')) AS free_bytes,
    toUInt64(argMaxIf(value, at, name = 'quarantine_files')) AS quarantined_files,
    toUInt64(argMaxIf(value, at, name = 'quarantine_rows')) AS quarantined_rows,
    argMaxIf(value, at, name = 'journal_failing') > 0 AS failing
FROM collector_samples
WHERE at >= {since:DateTime64(3, 'UTC')}
    -- gauges only: a counter is there when something was counted
    AND name IN (
        'lag_seconds', 'journal_bytes', 'journal_used_bytes', 'journal_left_bytes', 'volume_free_bytes',
        'quarantine_files', 'quarantine_rows', 'journal_failing'
    )
GROUP BY collector, signal
ORDER BY collector, signal
LIMIT {limit:UInt32}
