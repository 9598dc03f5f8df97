-- Hops: from one system to the next, as the steps of a transaction followed each other when they were observed. The wait is from the end of
-- the one to the start of the other; steps that overlap wait for nothing and are counted apart.
observed AS (
    SELECT
        type,
        scope,
        value,
        arraySort(groupArray((observed_at, ended_at, trace_id, span_id, system))) AS in_time
    FROM members
    INNER JOIN seen USING (trace_id, span_id)
    GROUP BY type, scope, value
),
hops AS (
    SELECT
        type,
        scope,
        value,
        arrayJoin(
            arrayFilter(
                hop -> hop.1 != hop.2,
                arrayMap(
                    (one, other) -> (
                        toString(one.5), toString(other.5), dateDiff('microsecond', one.2, other.1) / 1e6
                    ),
                    arrayPopBack(in_time), arrayPopFront(in_time)
                )
            )
        ) AS hop
    FROM observed
)
SELECT
    hop.1 AS from_system,
    hop.2 AS to_system,
    count() AS times,
    uniqExact(type, scope, value) AS transactions,
    countIf(hop.3 < 0) AS overlapping,
    quantileExact(0.5)(greatest(hop.3, 0)) AS wait_p50,
    quantileExact(0.9)(greatest(hop.3, 0)) AS wait_p90
FROM hops
GROUP BY from_system, to_system
ORDER BY times DESC, from_system, to_system
LIMIT {limit:UInt32}
