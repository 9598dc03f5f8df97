-- Transactions with a deadline that runs and is at risk by what the past says now, those that are due first.
SELECT
    flow,
    anchor
FROM deadlines FINAL
WHERE state = 'running'
    AND due_at > fromUnixTimestamp64Micro({now:Int64}, 'UTC')
    AND toUnixTimestamp64Micro(from_at) + (toUnixTimestamp64Micro(due_at) - toUnixTimestamp64Micro(from_at)) * transform(
        concat(flow, '\n', rule, '\n', counterparty),
        {courses:Array(String)},
        {hundredths:Array(UInt8)},
        transform(concat(flow, '\n', rule, '\n'), {courses:Array(String)}, {hundredths:Array(UInt8)}, 100)
    ) / 100 <= {now:Int64}
GROUP BY flow, anchor
ORDER BY min(due_at), flow, anchor
LIMIT {limit:UInt32}
