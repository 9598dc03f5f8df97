-- Links from the looked-up keys to their parents, whatever the scopes.
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
    AND (child.type, child.value) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
