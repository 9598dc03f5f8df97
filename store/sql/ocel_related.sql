-- SQLite: the objects that those of an event are related with, in either direction.
SELECT DISTINCT
    objects.type,
    objects.id
FROM (
    SELECT target AS id
    FROM object_objects
    WHERE source IN (SELECT object FROM event_objects WHERE event = :event)
    UNION
    SELECT source AS id
    FROM object_objects
    WHERE target IN (SELECT object FROM event_objects WHERE event = :event)
) AS found
INNER JOIN objects ON objects.id = found.id
ORDER BY objects.type, objects.id
