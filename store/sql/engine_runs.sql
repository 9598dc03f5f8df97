-- Numbers that were all seen, of keys that count up, and when the first and the last of them were: what stands before the last
-- digits of a value names the count.
SELECT
    type,
    scope,
    series,
    width,
    min(number) AS first,
    max(number) AS last,
    argMin(at, number) AS first_at,
    argMax(at, number) AS last_at
FROM (
    SELECT
        type,
        scope,
        series,
        width,
        number,
        at,
        -- The same for numbers that follow each other without a gap.
        number - row_number() OVER (
            PARTITION BY
                type,
                scope,
                series,
                width
            ORDER BY number
        ) AS island
    FROM (
        SELECT
            type,
            scope,
            regexpExtract(value, '^(.*?)([0-9]{1,18})$', 1) AS series,
            length(regexpExtract(value, '^(.*?)([0-9]{1,18})$', 2)) AS width,
            toInt64(regexpExtract(value, '^(.*?)([0-9]{1,18})$', 2)) AS number,
            min(step_keys.at) AS at
        FROM step_keys FINAL
        WHERE flow = {flow:String}
            AND type IN {types:Array(String)}
            AND step_keys.at >= fromUnixTimestamp64Micro({since:Int64})
            AND match(value, '^(.*?)([0-9]{1,18})$')
        GROUP BY
            type,
            scope,
            series,
            width,
            number
    )
)
GROUP BY
    type,
    scope,
    series,
    width,
    island
ORDER BY last_at DESC
LIMIT {limit:UInt32}
