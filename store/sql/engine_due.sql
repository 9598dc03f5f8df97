-- Transactions whose verdict may have changed by time alone.
SELECT
    anchor
FROM transactions FINAL
WHERE flow = {flow:String}
    AND evaluate_at <= fromUnixTimestamp64Micro({now:Int64}, 'UTC')
ORDER BY evaluate_at
LIMIT {limit:UInt32}
