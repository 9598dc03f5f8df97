-- Deadlines due in the time range that are decided: met, met late or broken; in all and by rule.
SELECT
    'sla_attainment' AS name,
    rule AS label,
    '' AS currency,
    toDecimal128(countIf(state = 'met'), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM deadlines FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND state IN ('met', 'met late', 'breached')
    AND due_at >= {since:DateTime64(6, 'UTC')}
    AND due_at < {until:DateTime64(6, 'UTC')}
GROUP BY
    GROUPING SETS ((), (rule))
ORDER BY label
LIMIT {limit:UInt32}
