SELECT
    signal,
    reason,
    segment,
    tenant,
    count() AS rows,
    min(received_at) AS first_received_at,
    max(received_at) AS last_received_at
FROM otel_quarantine
WHERE ({signal:String} = '' OR signal = {signal:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND ({segment:String} = '' OR segment = {segment:String})
GROUP BY signal, reason, segment, tenant
ORDER BY segment, signal, reason, tenant
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
