-- SQLite: events in order of time.
SELECT
    number,
    id,
    type,
    time,
    attributes
FROM events
ORDER BY time, number
