-- Figures over transactions. In flight is as of now; completed is by the day of the last step.
SELECT
    figure.1 AS name,
    '' AS label,
    currency,
    figure.2 AS numerator,
    figure.3 AS denominator
FROM (
    SELECT
        currency,
        countIf(state != 'completed') AS in_flight,
        countIf(state != 'completed' AND breached_deadlines > 0) AS late,
        sumIf(at_stake, state != 'completed') AS money_at_stake,
        countIf(state = 'completed' AND in_range AND actors > 0) AS completed,
        countIf(state = 'completed' AND in_range AND actors > 0 AND people = 0) AS touchless
    FROM (
        SELECT
            flow,
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            currency,
            state,
            breached_deadlines,
            at_stake,
            last_step_at >= {since:DateTime64(6, 'UTC')} AND last_step_at < {until:DateTime64(6, 'UTC')} AS in_range
        FROM transactions FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
    ) AS every
    LEFT JOIN (  -- who acted in it; nothing can be said of a transaction whose steps do not say
        SELECT
            flow,
            anchor.type AS type,
            anchor.scope AS scope,
            anchor.value AS value,
            count() AS actors,
            countIf(actor = 'human') AS people
        FROM transaction_steps AS members FINAL
        INNER JOIN (
            SELECT
                flow,
                trace_id,
                span_id,
                actor
            FROM steps FINAL
            WHERE ({flow:String} = '' OR flow = {flow:String})
                AND actor != ''
        ) AS acted USING (flow, trace_id, span_id)
        WHERE ({flow:String} = '' OR flow = {flow:String})
        GROUP BY
            flow,
            type,
            scope,
            value
    ) AS acting USING (flow, type, scope, value)
    GROUP BY currency
)
ARRAY JOIN [
    ('in_flight', toDecimal128(in_flight, 6), toDecimal128(in_flight, 6)),
    ('late_now', toDecimal128(late, 6), toDecimal128(in_flight, 6)),
    ('money_at_stake', money_at_stake, toDecimal128(in_flight, 6)),
    ('touchless_rate', toDecimal128(touchless, 6), toDecimal128(completed, 6))
] AS figure
LIMIT {limit:UInt32}
