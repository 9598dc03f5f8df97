-- Transactions by state: those in flight as of now, the completed ones of the time range.
SELECT
    state,
    count() AS transactions,
    countIf(breached_deadlines > 0) AS late,
    sumMap(map(currency, ifNull(amount, 0))) AS amounts,
    sumMap(map(currency, at_stake)) AS at_stake
FROM transactions FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND (
        state != 'completed'
        OR (last_step_at >= {since:DateTime64(6, 'UTC')} AND last_step_at < {until:DateTime64(6, 'UTC')})
    )
GROUP BY state
ORDER BY state
LIMIT {limit:UInt32}
