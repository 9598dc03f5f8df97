SELECT
    signal,
    reason,
    count() AS rows,
    min(received_at) AS first_received_at,
    max(received_at) AS last_received_at
FROM otel_quarantine
GROUP BY signal, reason
ORDER BY signal, reason
