-- Traces with links that entered the store since the engine's position, oldest first, and how far that reaches in
-- microseconds since 1970.
SELECT
    trace_id AS name,
    toUnixTimestamp64Micro(max(loaded_at)) AS loaded_us
FROM span_links
WHERE loaded_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND _part NOT IN (SELECT type FROM engine_lookup WHERE batch = {batch:UInt64})
GROUP BY trace_id
ORDER BY loaded_us, name
LIMIT {limit:UInt32}
