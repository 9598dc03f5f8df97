-- Transactions whose verdict may have changed by time alone.
SELECT
    flow,
    anchor
FROM transactions FINAL
WHERE flow IN {flows:Array(String)}
    AND evaluate_at <= fromUnixTimestamp64Micro({now:Int64}, 'UTC')
ORDER BY evaluate_at
LIMIT {limit:UInt32} BY flow
