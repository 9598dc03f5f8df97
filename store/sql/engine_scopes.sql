-- The scopes that the looked-up values are known with.
SELECT
    tuple(type, scope, value) AS key,
    min(version) AS version
FROM step_keys
WHERE flow = {flow:String}
    AND scope != ''
    AND (type, value) IN (
        SELECT
            type,
            value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
GROUP BY type, scope, value
