-- Transactions with at least one exception, open or resolved, among those active in the time range; in all and by reason.
WITH
    active AS (
        SELECT
            flow,
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value
        FROM transactions FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND started_at < {until:DateTime64(6, 'UTC')}
            AND last_step_at >= {since:DateTime64(6, 'UTC')}
    ),
    (SELECT count() FROM active) AS transactions_active
SELECT
    'exception_rate' AS name,
    cause AS label,
    '' AS currency,
    toDecimal128(uniqExact(flow, type, scope, value), 6) AS numerator,
    toDecimal128(transactions_active, 6) AS denominator
FROM (
    SELECT
        flow,
        anchor.type AS type,
        anchor.scope AS scope,
        anchor.value AS value,
        concat(rule, ': ', reason) AS cause
    FROM exceptions FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND NOT is_deleted
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
        AND (flow, anchor.type, anchor.scope, anchor.value) IN (SELECT flow, type, scope, value FROM active)
)
GROUP BY
    GROUPING SETS ((), (cause))
ORDER BY
    empty(label) DESC,
    numerator DESC,
    label
LIMIT {limit:UInt32}
