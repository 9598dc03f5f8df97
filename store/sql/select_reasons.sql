-- Open exceptions by reason, the most frequent first. Lines that do not match add up; a deadline or a refusal is about the
-- transaction's whole amount, which counts once.
SELECT
    kind,
    rule,
    reason,
    sum(exceptions_here) AS exceptions,
    countIf(kind NOT IN ('silent', 'source', 'gap', 'schedule')) AS transactions,
    min(oldest_here) AS oldest_at,
    sumMap(map(currency, amount_here)) AS amounts
FROM (
    SELECT
        kind,
        rule,
        reason,
        currency,
        count() AS exceptions_here,
        min(opened_at) AS oldest_here,
        if(kind = 'match', sum(amount), max(amount)) AS amount_here
    FROM exceptions FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND NOT is_deleted
        AND resolved_at IS NULL
    GROUP BY
        flow,
        anchor,
        kind,
        rule,
        reason,
        currency
)
GROUP BY
    kind,
    rule,
    reason
ORDER BY
    exceptions DESC,
    kind,
    rule,
    reason
LIMIT {limit:UInt32}
