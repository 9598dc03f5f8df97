-- What each step costs where it is done: attempts, what failed and was made good, what was refused as a duplicate or replayed, work time.
-- A step of several transactions counts once.
done AS (
    SELECT
        type,
        scope,
        value,
        step,
        system,
        minIf(observed_at, failed) AS failed_at,
        maxIf(observed_at, NOT failed) AS done_at
    FROM members
    INNER JOIN seen USING (trace_id, span_id)
    GROUP BY type, scope, value, step, system
    HAVING countIf(failed) > 0
),
retried AS (
    SELECT
        step,
        system,
        countIf(done_at > failed_at) AS recovered,
        countIf(done_at <= failed_at) AS given_up
    FROM done
    GROUP BY step, system
)
SELECT
    step,
    system,
    count() AS attempts,
    countIf(failed) AS failed,
    any(retried.recovered) AS recovered,
    any(retried.given_up) AS given_up,
    countIf(outcome = 'duplicate') AS duplicates,
    countIf(replay_of != '') AS replays,
    quantileExact(0.5)(duration_ns) / 1e9 AS work_p50,
    quantileExact(0.9)(duration_ns) / 1e9 AS work_p90
FROM seen
LEFT JOIN retried USING (step, system)
GROUP BY step, system
ORDER BY attempts DESC, step, system
LIMIT {limit:UInt32}
