-- Open deadlines by rule: how many are broken, since when, and the money behind them. A transaction that broke a rule for
-- several subjects (three invoices of one order) puts its money at stake once.
SELECT
    flow,
    rule,
    severity,
    sum(breached_here) AS breached,
    sum(unknown_here) AS unknown,
    sum(at_risk_here) AS at_risk,
    sum(running_here) AS running,
    sum(due_soon_here) AS due_soon,
    min(oldest_here) AS oldest_due_at,
    min(next_here) AS next_due_at,
    sumMapIf(map(currency, at_stake_here), breached_here > 0) AS at_stake
FROM (
    SELECT
        flow,
        rule,
        severity,
        currency,
        countIf(state = 'breached') AS breached_here,
        countIf(state = 'unknown') AS unknown_here,
        countIf(state = 'at risk') AS at_risk_here,
        countIf(state IN ('running', 'at risk')) AS running_here,
        countIf(state IN ('running', 'at risk') AND due_at < {soon:DateTime64(6, 'UTC')}) AS due_soon_here,
        minIf(toNullable(due_at), state = 'breached') AS oldest_here,
        minIf(toNullable(due_at), state IN ('running', 'at risk')) AS next_here,
        max(at_stake) AS at_stake_here
    FROM deadlines FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND state IN ('breached', 'unknown', 'at risk', 'running')
    GROUP BY
        flow,
        rule,
        severity,
        anchor,
        currency
)
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
