-- What was decided before about these keys.
SELECT
    dedup_key,
    flow,
    anchor,
    kind,
    rule,
    subject,
    state,
    decision,
    episode,
    sequence,
    announced,
    announced_severity,
    notification_id,
    reason,
    severity,
    amount,
    currency,
    detail,
    opened_at,
    resolved_at,
    first_seen_at,
    decided_at,
    exception_version,
    version
FROM alerts FINAL
WHERE dedup_key IN {keys:Array(String)}
