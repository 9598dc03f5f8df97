-- SQLite: the types of events and of objects with their attributes; a type without any has one row without a name.
SELECT
    kind,
    type,
    '',
    ''
FROM types
UNION
SELECT
    kind,
    type,
    name,
    value_type
FROM value_types
UNION
SELECT DISTINCT
    'event',
    type,
    '',
    ''
FROM events
UNION
SELECT DISTINCT
    'object',
    type,
    '',
    ''
FROM objects
UNION
SELECT DISTINCT
    'event',
    events.type,
    given.key,
    'string'
FROM events, json_each(events.attributes) AS given
WHERE NOT EXISTS (SELECT 1 FROM value_types AS said WHERE said.kind = 'event' AND said.type = events.type AND said.name = given.key)
UNION
SELECT DISTINCT
    'object',
    objects.type,
    object_values.name,
    'string'
FROM object_values
INNER JOIN objects ON objects.id = object_values.object
WHERE NOT EXISTS (
    SELECT 1 FROM value_types AS said WHERE said.kind = 'object' AND said.type = objects.type AND said.name = object_values.name
)
ORDER BY 1, 2, 3
