-- SQLite: the values of an object at a time, the latest last; times are written alike, and an empty one is the beginning.
SELECT
    name,
    value
FROM object_values
WHERE object = :object
    AND time <= :time
ORDER BY time, rowid
