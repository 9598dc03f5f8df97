-- Duplicate effects: one idempotency key under which the same step was done more than once and neither failed nor was refused as a duplicate.
effects AS (
    SELECT
        arrayJoin(arrayFilter(key -> key.1 = 'idempotency', keys)) AS key,
        step,
        system,
        trace_id,
        span_id,
        observed_at,
        amount,
        currency
    FROM seen
    WHERE NOT failed AND outcome != 'duplicate'
)
SELECT
    key.3 AS idempotency_key,
    step,
    system,
    count() AS effects,
    min(observed_at) AS first_at,
    max(observed_at) AS last_at,
    mapFilter((name, sum) -> sum != 0, sumMap(map(currency, ifNull(amount, toDecimal128(0, 6))))) AS amounts,
    arraySlice(arraySort(groupArray((trace_id, span_id))), 1, 20) AS spans
FROM effects
GROUP BY key, step, system
HAVING effects > 1
ORDER BY last_at DESC, idempotency_key, step, system
LIMIT {limit:UInt32}
