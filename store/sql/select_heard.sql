-- When these systems were last heard of, in microseconds since 1970: by the times that their spans give, as far as a clock that
-- is fast cannot be ahead of when they came.
SELECT
    system,
    toUnixTimestamp64Micro(least(toDateTime64(max(last_span_at), 6, 'UTC'), toDateTime64(max(last_loaded_at), 6, 'UTC'))) AS heard_us
FROM source_watermarks
WHERE system IN {systems:Array(String)}
GROUP BY system
