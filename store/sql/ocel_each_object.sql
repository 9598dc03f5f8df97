-- SQLite: all objects.
SELECT
    id,
    type
FROM objects
ORDER BY id
