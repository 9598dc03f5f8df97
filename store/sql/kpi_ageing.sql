-- Open exceptions by age, and how long the resolved ones of the time range took (seconds; how many in the denominator).
SELECT
    'open_exceptions' AS name,
    age AS label,
    '' AS currency,
    toDecimal128(count(), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM (
    SELECT
        days,
        multiIf(
            days <= 1, 'up to 1 day',
            days <= 3, '2 to 3 days',
            days <= 7, '4 to 7 days',
            days <= 14, '8 to 14 days',
            days <= 30, '15 to 30 days',
            'over 30 days'
        ) AS age
    FROM (
        SELECT ceil(dateDiff('second', opened_at, {now:DateTime64(6, 'UTC')}) / 86400) AS days
        FROM exceptions FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND NOT is_deleted
            AND resolved_at IS NULL
    )
)
GROUP BY
    GROUPING SETS ((), (age))
ORDER BY
    empty(label) DESC,
    min(days)
LIMIT {limit:UInt32}
UNION ALL
SELECT
    'time_to_resolve_p50' AS name,
    '' AS label,
    '' AS currency,
    toDecimal128(quantileExact(0.5)(dateDiff('second', opened_at, assumeNotNull(resolved_at))), 6) AS numerator,
    toDecimal128(count(), 6) AS denominator
FROM exceptions FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND NOT is_deleted
    AND resolved_at >= {since:DateTime64(6, 'UTC')}
    AND resolved_at < {until:DateTime64(6, 'UTC')}
    AND resolved_at >= opened_at
    AND (flow, anchor.type, anchor.scope, anchor.value, rule, subject) NOT IN (  -- met in time after all: only the news was late
        SELECT
            flow,
            anchor.type,
            anchor.scope,
            anchor.value,
            rule,
            subject
        FROM deadlines FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND state = 'met'
    )
