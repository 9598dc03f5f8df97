-- Deadlines that are unknown because of a number that is missing no more: it is none of the looked-up ones.
SELECT
    flow,
    source,
    due_at,
    anchor,
    rule,
    subject,
    version
FROM awaited_deadlines FINAL
WHERE flow = {flow:String}
    AND startsWith(source, '["')
    AND source NOT IN (
        SELECT value
        FROM engine_lookup
        WHERE batch = {batch:UInt64}
    )
ORDER BY due_at, anchor, rule, subject
LIMIT {limit:UInt32}
