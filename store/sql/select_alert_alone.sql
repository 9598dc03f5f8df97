-- Open alerts of some rules that have no cause in common with others, of what opened since a moment.
SELECT *
FROM alerts FINAL
WHERE state = 'firing'
    AND kind != 'cause'
    AND cause = ''
    AND flow IN {flows:Array(String)}
    AND rule IN {rules:Array(String)}
    AND opened_at >= {since:DateTime64(6, 'UTC')}
ORDER BY
    opened_at DESC,
    dedup_key
LIMIT {limit:UInt32}
