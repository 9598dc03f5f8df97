-- SQLite: the objects that an object is related with, and how.
SELECT
    target,
    qualifier
FROM object_objects
WHERE source = ?
ORDER BY target, qualifier
