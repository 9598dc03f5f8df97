-- Links from the looked-up keys to their children, whatever the scopes.
SELECT
    flow,
    child,
    parent,
    trace_id,
    span_id,
    at,
    version
FROM key_links FINAL
WHERE flow = {flow:String}
    AND (parent.type, parent.value) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
