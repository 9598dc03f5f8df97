-- Each stage of the flow: how many transactions reached it, how many more than once, and how many reached a later one
-- without it. To be called off is behind nothing: it skips no stage, and nobody is still before it.
numbered AS (
    SELECT
        arrayMap(stage -> indexOf({stages:Array(String)}, stage), stages) AS ranks,
        arrayMax(arrayFilter(rank -> NOT has({cancelling:Array(String)}, {stages:Array(String)}[rank]), ranks)) AS furthest
    FROM reached
)
SELECT
    {stages:Array(String)}[rank] AS stage,
    countIf(has(ranks, rank)) AS transactions,
    countIf(countEqual(ranks, rank) > 1) AS repeated,
    countIf(NOT has(ranks, rank) AND furthest > rank) AS skipped,
    countIf(NOT has(ranks, rank) AND furthest < rank AND NOT has({cancelling:Array(String)}, stage)) AS ahead
FROM numbered
ARRAY JOIN arrayEnumerate({stages:Array(String)}) AS rank
GROUP BY rank
ORDER BY rank
LIMIT {limit:UInt32}
