SELECT
    signal,
    reason,
    segment,
    tenant,
    service,
    name,
    trace_id,
    span_id,
    sent_unix_nano,
    sent_end_unix_nano,
    received_at,
    quarantined_at
FROM otel_quarantine
WHERE ({signal:String} = '' OR signal = {signal:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND ({segment:String} = '' OR segment = {segment:String})
ORDER BY segment, signal, reason, trace_id, span_id, sent_unix_nano
LIMIT {limit:UInt32} OFFSET {offset:UInt32}
