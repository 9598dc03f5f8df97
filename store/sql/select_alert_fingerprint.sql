-- Whether anything was written since a version: cheap enough to ask every second. Without FINAL on purpose; a merge
-- that changes the answer costs one more look.
SELECT
    count() AS parts,
    sum(cityHash64(version, flow, anchor.type, anchor.value, anchor.scope, kind, rule, subject)) AS content
FROM exceptions
WHERE version >= {since:UInt64}
