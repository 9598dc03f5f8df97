-- The last that each source of a scraper said of itself, the most silent first; what it did not say is 0 or nothing. A time
-- is in seconds since 1970.
SELECT
    tenant,
    host,
    source,
    max(at) AS reported_at,
    maxIf(began_at, name = 'records') AS began_at,
    argMaxIf(words['kind'], at, name = 'running') AS kind,
    argMaxIf(value, at, name = 'running') > 0 AS running,
    argMaxIf(value, at, name = 'failing') > 0 AS failing,
    argMaxIf(words['reason'], at, name = 'failing') AS reason,
    toUInt64(argMaxIf(value, at, name = 'problems')) AS problems,
    argMaxIf(words['reason'], at, name = 'problems') AS problem,
    argMaxIf(value, at, name = 'last_success') AS worked_s,
    argMaxIf(value, at, name = 'last_record') AS read_s,
    argMaxIf(value, at, name = 'watermark') AS watermark_s,
    argMaxIf(value, at, name = 'lag') AS lag_s,
    toUInt64(argMaxIf(value, at, name = 'behind')) AS behind_bytes,
    toUInt64(argMaxIf(value, at, name = 'open')) AS open,
    toUInt64(argMaxIf(value, at, name = 'records')) AS records,
    toUInt64(argMaxIf(value, at, name = 'steps')) AS steps,
    toUInt64(argMaxIf(value, at, name = 'unmatched')) AS unmatched,
    toUInt64(argMaxIf(value, at, name = 'rejected')) AS rejected,
    toUInt64(argMaxIf(value, at, name = 'refused')) AS refused,
    argMaxIf(value, at, name = 'last_reject') AS rejected_s,
    argMaxIf(words['reason'], at, name = 'last_reject') AS reject_reason,
    argMaxIf(words['file'], at, name = 'last_reject') AS reject_file
FROM source_samples
GROUP BY tenant, source, host
ORDER BY reported_at, source, host
LIMIT {limit:UInt32}
