-- Numbers that are missing between two that were seen, of keys that count up: what stands before the last digits of a value
-- names the count. A jump that is wider than a gap may be begins another count.
SELECT
    scope,
    series,
    width,
    previous,
    number,
    previous_at,
    at
FROM (
    SELECT
        scope,
        series,
        width,
        number,
        at,
        lagInFrame(number) OVER counted AS previous,
        lagInFrame(at) OVER counted AS previous_at,
        row_number() OVER counted AS position
    FROM (
        SELECT
            scope,
            regexpExtract(value, '^(.*?)([0-9]{1,18})$', 1) AS series,
            length(regexpExtract(value, '^(.*?)([0-9]{1,18})$', 2)) AS width,
            toUInt64(regexpExtract(value, '^(.*?)([0-9]{1,18})$', 2)) AS number,
            min(step_keys.at) AS at
        FROM step_keys FINAL
        WHERE flow = {flow:String}
            AND type = {type:String}
            AND step_keys.at >= fromUnixTimestamp64Micro({since:Int64})
            AND match(value, '^(.*?)([0-9]{1,18})$')
        GROUP BY
            scope,
            series,
            width,
            number
    )
    WINDOW counted AS (
        PARTITION BY
            scope,
            series,
            width
        ORDER BY number
        ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
)
WHERE position > 1
    AND number - previous BETWEEN 2 AND {widest:UInt64}
ORDER BY
    at DESC,
    scope,
    series,
    number
LIMIT {limit:UInt32}
