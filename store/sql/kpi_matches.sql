-- Figures over reconciled lines of the transactions that were active in the time range; money as of now.
SELECT
    figure.1 AS name,
    '' AS label,
    figure.2 AS currency,
    figure.3 AS numerator,
    figure.4 AS denominator
FROM (
    SELECT
        currency AS of_currency,
        countIf(status IN ('matched', 'matched_within_tolerance')) AS matched,
        countIf(status IN ('matched', 'matched_within_tolerance', 'exception')) AS decided,
        countIf(status IN ('matched', 'matched_within_tolerance') AND NOT was_exception) AS first_pass,
        sumIf(abs(amounts['invoiced']), status IN ('matched', 'matched_within_tolerance')) AS matched_value,
        sumIf(abs(amounts['invoiced']), status IN ('matched', 'matched_within_tolerance', 'exception')) AS decided_value,
        sumIf(abs(difference), status = 'exception') AS unreconciled,
        sumIf(abs(difference), status = 'pending_timing') AS pending,
        countIf(status = 'exception') AS exceptions,
        countIf(status = 'pending_timing') AS waiting
    FROM (
        SELECT
            currency,
            status,
            amounts,
            difference,
            -- an exception that was taken back (deleted) never was one: the data that said so came late
            (flow, anchor.type, anchor.scope, anchor.value, rule, line) IN (
                SELECT
                    flow,
                    anchor.type,
                    anchor.scope,
                    anchor.value,
                    rule,
                    subject
                FROM exceptions FINAL
                WHERE ({flow:String} = '' OR flow = {flow:String})
                    AND NOT is_deleted
                    AND kind = 'match'
            ) AS was_exception
        FROM reconciliations FINAL
        WHERE ({flow:String} = '' OR flow = {flow:String})
            AND (flow, anchor.type, anchor.scope, anchor.value) IN (
                SELECT
                    flow,
                    anchor.type,
                    anchor.scope,
                    anchor.value
                FROM transactions FINAL
                WHERE ({flow:String} = '' OR flow = {flow:String})
                    AND started_at < {until:DateTime64(6, 'UTC')}
                    AND last_step_at >= {since:DateTime64(6, 'UTC')}
            )
    )
    GROUP BY currency
)
ARRAY JOIN [
    ('auto_match_rate', '', toDecimal128(matched, 6), toDecimal128(decided, 6)),
    ('auto_match_rate_by_value', toString(of_currency), matched_value, decided_value),
    ('first_pass_yield', '', toDecimal128(first_pass, 6), toDecimal128(decided, 6)),
    ('unreconciled_amount', toString(of_currency), unreconciled, toDecimal128(decided, 6)),
    ('pending_amount', toString(of_currency), pending, toDecimal128(waiting, 6))
] AS figure
LIMIT {limit:UInt32}
