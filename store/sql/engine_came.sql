-- When steps of a code came, the first of each so many seconds from a time on: of each value of a context or a key, where one is named.
-- Without FINAL: a row that was replaced says the same of the code, the outcome and the time.
SELECT
    subject,
    min(happened) AS at
FROM (
    SELECT
        at AS happened,
        arrayJoin(
            multiIf(
                {context:String} != '', [context[{context:String}]],
                {key:String} != '', arrayMap(own -> own.value, arrayFilter(own -> own.type = {key:String}, keys)),
                ['']
            )
        ) AS subject
    FROM steps
    WHERE flow = {flow:String}
        AND step = {step:String}
        AND outcome IN {outcomes:Array(String)}
        AND NOT failed
        AND version > {after_version:UInt64}
        AND at >= fromUnixTimestamp64Micro({since:Int64})
)
WHERE subject IN {subjects:Array(String)}
GROUP BY
    subject,
    intDiv(toUnixTimestamp64Micro(happened) - {since:Int64}, {grain_us:Int64})
ORDER BY at DESC
LIMIT {limit:UInt32}
