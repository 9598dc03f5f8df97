-- Transactions with a broken deadline that may have been met by what is missing of a source's numbers: of the looked-up ones
-- scope and value are since when and until when they may have been told, type is whose they are, if anybody's.
WITH (
    SELECT groupArray((toInt64(scope), toInt64(value), type))
    FROM engine_lookup
    WHERE batch = {batch:UInt64}
) AS missing
SELECT anchor
FROM deadlines FINAL
WHERE flow = {flow:String}
    AND state = 'breached'
    AND to_stage IN {stages:Array(String)}
    AND due_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND arrayExists(
        gap -> toUnixTimestamp64Micro(due_at) >= gap.1
            AND toUnixTimestamp64Micro(from_at) <= gap.2
            AND (gap.3 IN ('', counterparty) OR counterparty = ''),
        missing
    )
GROUP BY anchor
ORDER BY
    min(due_at),
    anchor
LIMIT {limit:UInt32}
