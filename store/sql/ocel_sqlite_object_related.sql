-- SQLite, a log of OCEL 2.0: the objects that an object is related with.
SELECT ocel_target_id, ifnull(ocel_qualifier, '')
FROM object_object
WHERE ocel_source_id = ?
ORDER BY ocel_target_id, ocel_qualifier
