-- Deadlines that are unknown although their source was heard of since, those that are due the longest first.
SELECT
    flow,
    source,
    due_at,
    anchor,
    rule,
    subject,
    version
FROM awaited_deadlines FINAL
WHERE flow IN {flows:Array(String)}
    AND source IN {sources:Array(String)}
    AND due_at <= fromUnixTimestamp64Micro(transform(source, {sources:Array(String)}, {heard:Array(Int64)}, toInt64(0)), 'UTC')
ORDER BY due_at, anchor, rule, subject
LIMIT {limit:UInt32} BY flow
