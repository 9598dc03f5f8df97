-- Transactions completed in the time range without a step by a person. Nothing can be said of one whose steps do not say
-- who acted: it is in neither part.
SELECT
    'touchless_rate' AS name,
    '' AS label,
    '' AS currency,
    toDecimal128(countIf(human_steps = 0), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM transactions FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND state = 'completed'
    AND last_step_at >= {since:DateTime64(6, 'UTC')}
    AND last_step_at < {until:DateTime64(6, 'UTC')}
    AND attributed_steps > 0
LIMIT {limit:UInt32}
