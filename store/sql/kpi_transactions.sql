-- Figures over transactions in flight, as of now.
SELECT
    figure.1 AS name,
    '' AS label,
    currency,
    figure.2 AS numerator,
    toDecimal128(in_flight, 6) AS denominator
FROM (
    SELECT
        currency,
        count() AS in_flight,
        countIf(breached_deadlines > 0) AS late,
        sum(at_stake) AS money_at_stake
    FROM transactions FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND state != 'completed'
    GROUP BY currency
)
ARRAY JOIN [
    ('in_flight', toDecimal128(in_flight, 6)),
    ('late_now', toDecimal128(late, 6)),
    ('money_at_stake', money_at_stake)
] AS figure
LIMIT {limit:UInt32}
