-- SQLite: all values that an object had, in order of time.
SELECT
    name,
    time,
    value
FROM object_values
WHERE object = ?
ORDER BY time, rowid
