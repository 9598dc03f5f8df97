-- Open causes that several exceptions have in common, the most expensive first; of one flow or of all.
SELECT *
FROM alerts FINAL
WHERE kind = 'cause'
    AND state = 'firing'
    AND (empty({flows:Array(String)}) OR flow IN {flows:Array(String)})
ORDER BY
    amount DESC,
    members DESC,
    dedup_key
LIMIT {limit:UInt32}
