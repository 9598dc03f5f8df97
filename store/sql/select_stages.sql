-- Transactions in flight by the furthest stage they reached.
SELECT
    flow,
    stage,
    count() AS transactions,
    countIf(breached_deadlines > 0) AS late,
    sumMap(map(currency, at_stake)) AS at_stake
FROM transactions FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND state != 'completed'
GROUP BY
    flow,
    stage
ORDER BY flow, stage
LIMIT {limit:UInt32}
