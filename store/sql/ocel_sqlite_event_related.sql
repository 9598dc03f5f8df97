-- SQLite, a log of OCEL 2.0: the objects of an event.
SELECT ocel_object_id, ifnull(ocel_qualifier, '')
FROM event_object
WHERE ocel_event_id = ?
ORDER BY ocel_object_id, ocel_qualifier
