-- SQLite: the objects of an event; one that the log does not hold has no type.
SELECT
    event_objects.object,
    ifnull(objects.type, ''),
    event_objects.qualifier
FROM event_objects
LEFT JOIN objects ON objects.id = event_objects.object
WHERE event_objects.event = :event
ORDER BY event_objects.object, event_objects.qualifier
