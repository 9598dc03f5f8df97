-- The traces with a link to one of the looked-up traces.
SELECT DISTINCT trace_id AS name
FROM span_links
WHERE linked_trace_id IN (
    SELECT type
    FROM engine_lookup
    WHERE batch = {batch:UInt64}
)
