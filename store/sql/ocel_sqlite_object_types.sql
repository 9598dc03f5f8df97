-- SQLite, a log of OCEL 2.0: the table of each type of object.
SELECT ocel_type_map, ocel_type
FROM object_map_type
ORDER BY ocel_type
