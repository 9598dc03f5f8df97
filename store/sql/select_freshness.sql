-- When each system was last heard of, the most silent first.
SELECT
    system,
    max(last_span_at) AS last_span_at,
    max(last_loaded_at) AS last_loaded_at,
    sum(spans) AS spans
FROM source_watermarks
GROUP BY system
ORDER BY last_loaded_at, system
LIMIT {limit:UInt32}
