-- Variants: the stages in the order in which each was first reached, the most frequent first; a stage that comes again
-- makes no new variant, or every number of part deliveries would be one.
variants AS (
    SELECT
        type,
        scope,
        value,
        arrayDistinct(stages) AS variant,
        dateDiff('microsecond', times[1], times[-1]) / 1e6 AS seconds
    FROM reached
)
SELECT
    variant AS stages,
    count() AS transactions,
    countIf(state = 'completed') AS completed,
    quantileExact(0.5)(seconds) AS seconds_p50,
    sumMap(map(currency, ifNull(amount, toDecimal128(0, 6)))) AS amounts,
    argMax((type, scope, value), (seconds, type, scope, value)) AS slowest
FROM variants
INNER JOIN chosen USING (type, scope, value)
GROUP BY variant
ORDER BY transactions DESC, variant
LIMIT {limit:UInt32}
