-- From which hundredth of the allowed time on at least half of what was still open was late, by rule, and by rule and
-- counterparty: where enough was decided, and enough of it was late.
WITH
    arrayReverseSort(groupArray((hundredth, times))) AS from_top,
    arrayMap(one -> one.1, from_top) AS hundredths,
    arrayCumSum(arrayMap(one -> one.2, from_top)) AS reaching,
    arrayPushFront(arrayPopBack(reaching), 0) AS later
SELECT
    flow,
    rule,
    partner AS counterparty,
    if(
        sum(times) <= 2 * sumIf(times, hundredth = 101),
        0,
        arrayMin(arrayFilter((one, above) -> above <= 2 * sumIf(times, hundredth = 101), hundredths, later))
    ) AS hundredth_at_risk
FROM (
    SELECT
        flow,
        rule,
        arrayJoin(arrayDistinct(['', counterparty])) AS partner,
        multiIf(
            state != 'met', 101,
            due_at <= from_at, 100,
            toUInt8(greatest(0, least(100, ceil(
                100 * dateDiff('millisecond', from_at, met_at) / dateDiff('millisecond', from_at, due_at)
            ))))
        ) AS hundredth,
        count() AS times
    FROM deadlines FINAL
    WHERE flow IN {flows:Array(String)}
        AND state IN ('met', 'met late', 'breached')
        AND due_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
        AND due_at <= fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    GROUP BY flow, rule, partner, hundredth
)
GROUP BY flow, rule, partner
HAVING sum(times) >= {decided:UInt32} AND sumIf(times, hundredth = 101) >= {late:UInt32}
ORDER BY sum(times) DESC, flow, rule, partner
LIMIT {limit:UInt32}
