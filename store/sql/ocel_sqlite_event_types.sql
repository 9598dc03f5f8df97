-- SQLite, a log of OCEL 2.0: the table of each type of event.
SELECT ocel_type_map, ocel_type
FROM event_map_type
ORDER BY ocel_type
