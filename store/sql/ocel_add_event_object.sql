-- SQLite: an object of an event that does not name it itself, when both are there.
INSERT INTO event_objects (event, object, qualifier)
SELECT
    events.number,
    objects.id,
    :qualifier
FROM events
INNER JOIN objects ON objects.id = :object
WHERE events.id = :event
    AND NOT EXISTS (SELECT 1 FROM event_objects AS there WHERE there.event = events.number AND there.object = objects.id)
