-- Open exceptions by reason, the most frequent first.
SELECT
    kind,
    rule,
    reason,
    count() AS exceptions,
    uniqExact(flow, anchor) AS transactions,
    min(opened_at) AS oldest_at,
    sumMap(map(currency, amount)) AS amounts
FROM exceptions FINAL
WHERE ({flow:String} = '' OR flow = {flow:String})
    AND NOT is_deleted
    AND resolved_at IS NULL
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
