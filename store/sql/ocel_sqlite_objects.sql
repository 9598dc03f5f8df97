-- SQLite, a log of OCEL 2.0: the objects of a type.
SELECT ocel_id
FROM object
WHERE ocel_type = ?
