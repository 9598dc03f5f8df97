-- SQLite: events in the order of the file, and whether the id was there before.
SELECT
    number,
    id,
    type,
    time,
    attributes,
    EXISTS (SELECT 1 FROM events AS earlier WHERE earlier.id = events.id AND earlier.number < events.number)
FROM events
WHERE number > :behind
ORDER BY number
