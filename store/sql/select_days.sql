-- What began, ended and was broken on each day (UTC) of the time range.
SELECT
    day,
    sum(started) AS started,
    sum(completed) AS completed,
    sum(breached) AS breached
FROM (
    SELECT
        toDate(started_at, 'UTC') AS day,
        count() AS started,
        0 AS completed,
        0 AS breached
    FROM transactions FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND started_at >= {since:DateTime64(6, 'UTC')}
        AND started_at < {until:DateTime64(6, 'UTC')}
    GROUP BY day
    UNION ALL
    SELECT
        toDate(last_step_at, 'UTC') AS day,
        0 AS started,
        count() AS completed,
        0 AS breached
    FROM transactions FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND state = 'completed'
        AND last_step_at >= {since:DateTime64(6, 'UTC')}
        AND last_step_at < {until:DateTime64(6, 'UTC')}
    GROUP BY day
    UNION ALL
    SELECT
        toDate(due_at, 'UTC') AS day,
        0 AS started,
        0 AS completed,
        count() AS breached
    FROM deadlines FINAL
    WHERE ({flow:String} = '' OR flow = {flow:String})
        AND state IN ('breached', 'met late')
        AND due_at >= {since:DateTime64(6, 'UTC')}
        AND due_at < {until:DateTime64(6, 'UTC')}
    GROUP BY day
)
GROUP BY day
ORDER BY day
LIMIT {limit:UInt32}
