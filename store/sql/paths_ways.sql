-- Ways: which stage was reached next after which, and how long it took. A way that leads back, or to the same stage once more, is rework
-- or a further document: how often is what the count says.
ways AS (
    SELECT
        type,
        scope,
        value,
        arrayJoin(
            arrayMap(
                (of, to, left_at, came_at) -> (of, to, dateDiff('microsecond', left_at, came_at) / 1e6),
                arrayPopBack(stages), arrayPopFront(stages), arrayPopBack(times), arrayPopFront(times)
            )
        ) AS way
    FROM reached
)
SELECT
    way.1 AS from_stage,
    way.2 AS to_stage,
    count() AS times,
    uniqExact(type, scope, value) AS transactions,
    indexOf({stages:Array(String)}, to_stage) <= indexOf({stages:Array(String)}, from_stage) AS back,
    quantileExact(0.5)(way.3) AS seconds_p50,
    quantileExact(0.9)(way.3) AS seconds_p90
FROM ways
GROUP BY from_stage, to_stage
ORDER BY times DESC, from_stage, to_stage
LIMIT {limit:UInt32}
