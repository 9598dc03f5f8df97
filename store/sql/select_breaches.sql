-- Open deadlines by rule: how many are broken, since when, and the money behind them.
SELECT
    flow,
    rule,
    severity,
    countIf(state = 'breached') AS breached,
    countIf(state = 'running') AS running,
    countIf(state = 'running' AND due_at < {soon:DateTime64(6, 'UTC')}) AS due_soon,
    minIf(toNullable(due_at), state = 'breached') AS oldest_due_at,
    minIf(toNullable(due_at), state = 'running') AS next_due_at,
    sumMapIf(map(currency, at_stake), state = 'breached') AS at_stake
FROM deadlines FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND state IN ('breached', 'running')
GROUP BY
    flow,
    rule,
    severity
ORDER BY
    breached DESC,
    flow,
    rule,
    severity
LIMIT {limit:UInt32}
