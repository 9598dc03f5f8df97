-- The links from spans of the looked-up traces to those of others.
SELECT DISTINCT
    trace_id,
    span_id,
    linked_trace_id,
    linked_span_id
FROM span_links
WHERE trace_id IN (
    SELECT type
    FROM engine_lookup
    WHERE batch = {batch:UInt64}
)
