-- What was decided before about these keys.
SELECT *
FROM alerts FINAL
WHERE dedup_key IN {keys:Array(String)}
